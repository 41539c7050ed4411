"""What stands in the folder of an exported model, in words."""

from __future__ import annotations

from collections.abc import Iterable

from bayescg.io.export.model import ExportModel
from bayescg.io.export.tables import extensions, extrapolated

__all__ = ["readme"]

ABOUT_EXTRAPOLATION = """\
Beyond the data a potential is extrapolated: the core of a pair keeps its own form if that repels and gets
steeper, else its force goes on growing linearly from the closest distance seen; it is lowered to end at zero at
the cut-off; bonded terms are harmonic outwards. The tables say where in a comment at their head. A result that
depends on these parts is not one of the data."""


def readme(model: ExportModel, format: str, notes: Iterable[str]) -> str:
    """The text of ``README.txt``."""
    lines = [model.title, "=" * len(model.title), ""]
    lines += [*model.provenance, f"format: {format}", ""]
    sites, t = model.topology.sites, model.topology
    edges = " x ".join(f"{edge:g}" for edge in model.box)
    lines.append(f"{sites} sites in {edges} angstrom at {model.temperature:g} K")
    lines.append("bead types: " + ", ".join(f"{kind} ({t.types.count(kind)})" for kind in t.kinds))
    if model.three_body is not None:
        lines.append(
            f"three-body term: Stillinger-Weber, range {model.three_body.cutoff:g} angstrom"
        )
    if model.unfelt:
        lines.append(f"without a potential: {', '.join(model.unfelt)}")
    lines += ["", *notes, "", ABOUT_EXTRAPOLATION, ""]
    lines += [f"  {extrapolated(e)}" for e in extensions(model).values()]
    return "\n".join(lines) + "\n"
