"""Which valid file each reader is given, and how it is broken first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import io
import json
from pathlib import Path
import shutil
from typing import Any

from hypothesis import strategies as st
import numpy as np

from tests.hostile import octets, structures, trees

Write = Callable[[st.DataObject, Path], bool]  # False: nothing was made

METHODS = (
    "mcem", "nuts", "svi", "smc", "grow", "rem", "imc", "ibi", "dbi", "fm", "arcg", "classifier", "ybg",
)  # fmt: skip
SPINS = ("spins.nc", "fields.nc")
SITES = ("water.nc", "temperatures.nc", "molecules.nc")
TARGETS = ("pair.nc", "votca/targets.nc")
RESULTS = ("water_fit.nc",)
BINARY = ("xtc/traj.xtc", "trr/traj.trr", "dcd/traj.dcd", "ncdf/traj.ncdf")
LINES = ("pdb/traj.pdb", "lammps/traj.lammpsdump")
TOPOLOGIES = ("pdb/top.gro", "lammps/data.system", "xyz/traj.xyz")


@dataclass(frozen=True)
class Case:
    """A reader, the files that it reads whole, and a way to break them.

    :param weight: its share of the mutated inputs.
    :param fits: its files are those of fits.
    """

    reader: str
    how: str
    bases: tuple[str, ...]
    weight: float = 1.0
    fits: bool = False

    @property
    def name(self) -> str:
        kind = "" if not self.fits else " of fits"
        return f"{self.reader}{kind}, {self.how}"


def _under(folder: str, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{folder}/{n}" for n in names)


FITTED = ("molecules_fit.nc", "spins_fit.nc")
XML = _under("votca", ("settings.xml", "chain_cg.xml", "chain.xml"))
PROJECT = _under(
    "votca",
    (
        "topol.top",
        "chain.itp",
        "conf.gro",
        "A-A.dist.tgt",
        "angle.dist.tgt",
        "table_B_B.xvg",
        "chain_cg.xml",
    ),
)

CASES = (
    Case("data", "structure", SPINS + SITES, 3.0),
    Case("data", "bytes", SPINS + SITES, 3.0),
    Case("any_data", "structure", TARGETS[1:] + SITES[:1], 2.0),
    Case("any_data", "bytes", TARGETS[1:]),
    Case("targets", "structure", TARGETS, 2.0),
    Case("observables_file", "structure", ("observed.nc",)),
    Case("observables_file", "bytes", ("observed.nc",), 0.5),
    Case("result", "structure", RESULTS, 2.0),
    Case("result", "bytes", RESULTS, 2.0),
    Case("whole_result", "structure", RESULTS, 2.0),
    Case("result", "structure", FITTED, fits=True),
    Case("whole_result", "bytes", FITTED, fits=True),
    Case("map_file", "yaml", ("trajectories/whole.yaml", "trajectories/pdb/map.yaml"), 3.0),
    Case("map_file", "lines", ("trajectories/whole.yaml",), 1.5),
    Case("map_file", "bytes", ("trajectories/whole.yaml",)),
    Case("votca_settings", "xml", XML[:1]),
    Case("votca_settings", "lines", XML[:1]),
    Case("votca_project", "xml", XML[:1], 1.5),
    Case("votca_project beside", "lines", PROJECT, 2.0),
    Case("votca_map", "xml", XML[1:]),
    Case("votca_map_spec", "xml", XML[1:2]),
    Case("xml", "bytes", XML),
    Case("table", "lines", _under("votca", ("A-A.dist.tgt", "angle.dist.tgt"))),
    Case("pair_table", "lines", ("votca/table_B_B.xvg",)),
    Case("gro", "lines", ("votca/conf.gro",)),
    Case("top", "lines", ("votca/topol.top",)),
    Case("lammps", "lines", ("trajectories/lammps/data.system",)),
    Case("trajectory", "bytes", _under("trajectories", BINARY + LINES), 3.0),
    Case("trajectory", "lines", _under("trajectories", LINES), 1.5),
    Case("topology", "lines", _under("trajectories", TOPOLOGIES), 1.5),
    Case("topology", "bytes", _under("trajectories", TOPOLOGIES)),
    Case("resumed", "bytes", ("fit.nc.checkpoint",)),
    Case("resumed", "json", ("fit.nc.checkpoint",), 1.5),
    Case("model_options", "words", (), 2.0),
    Case("method_options", "words", (), 2.0),
    Case("observable", "words", (), 2.0),
    Case("number_words", "words", ()),
)  # fmt: skip


class Breaker:
    """Breaks the valid files of one case, each in a copy of its folder."""

    def __init__(self, case: Case, valid: Path, scratch: Path) -> None:
        self.case, self.valid, self.scratch = case, valid, scratch
        self.structures = {
            n: structures.read(valid / n) for n in case.bases if case.how == "structure"
        }

    def place(self, base: str) -> Path:
        """Where a broken file is put: beside those that the valid one lies beside."""
        held = self.scratch / Path(base).parent.as_posix().replace("/", "_")
        if not held.exists():
            near = (self.valid / base).parent
            if near == self.valid:
                held.mkdir()
            else:
                shutil.copytree(near, held)
        return held / Path(base).name

    def restore(self, path: Path, base: str) -> None:
        """Put the valid file back."""
        if path.parent.name != ".":
            shutil.copyfile(self.valid / base, path)

    def broken(self, data: st.DataObject, path: Path, base: str) -> bool:
        """Write a broken file; False where nothing came of it."""
        how, whole = self.case.how, self.valid / base
        if how == "structure":
            return structures.write(
                data.draw(structures.broken_structure(self.structures[base])), path
            )
        if how == "bytes":
            other = self.valid / data.draw(st.sampled_from(self.case.bases))
            path.write_bytes(data.draw(octets.broken_bytes(whole.read_bytes(), other.read_bytes())))
        elif how == "json":
            path.write_bytes(data.draw(broken_checkpoint(whole)))
        else:
            text = whole.read_text()
            make = {
                "yaml": trees.broken_yaml,
                "xml": trees.broken_xml,
                "lines": octets.broken_lines,
            }[how]
            path.write_bytes(data.draw(make(text)).encode("utf-8", "surrogatepass"))
        return path.read_bytes() != whole.read_bytes()


@st.composite
def broken_checkpoint(draw: st.DrawFn, whole: Path) -> bytes:
    """A checkpoint whose archive is whole, and whose description is not."""
    with np.load(whole) as held:
        arrays = {name: held[name] for name in held.files}
    about = draw(trees.broken_tree(str(arrays["about"])))
    arrays["about"] = np.array(json.dumps(about))
    if draw(st.booleans()):
        arrays.pop(draw(st.sampled_from(sorted(arrays))))
    out = io.BytesIO()
    np.savez(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def words(reader: str) -> st.SearchStrategy[str]:
    """Texts for the readers of options."""
    from dataclasses import fields

    from bayescg.workflow.registry import METHODS as METHODS_KNOWN
    from bayescg.workflow.registry import load_model
    from tests.hostile.readers import KNOWN, MODELS

    def known(options: Any) -> list[str]:
        return [f.name for f in fields(options)]

    if reader == "number_words":
        return st.one_of(
            st.sampled_from(trees.OPTION_VALUES),
            st.text(alphabet="0123456789.:,-+e naif", max_size=12),
        )
    if reader == "observable":
        return trees.observable_words(
            list(KNOWN), ["max", "width", "neighbours", "norm", "cutoff", "min"]
        )
    if reader == "model_options":
        names, options = MODELS, {m: known(load_model(m).Options()) for m in MODELS}
    else:
        names, options = METHODS, {m: known(METHODS_KNOWN[m].options(None)) for m in METHODS}
    return st.sampled_from(names).flatmap(
        lambda n: trees.option_words(options[n]).map(
            lambda w: "\n".join([n, *(x.replace("\n", " ") for x in w)])
        )
    )
