"""``bayescg compare``: results of one system side by side."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bayescg.cli.border import Done, shared
from bayescg.cli.inputs import load_result
from bayescg.console import Console

if TYPE_CHECKING:
    from bayescg.workflow.comparing import Comparison

__all__ = ["compare_command", "table"]

ABSENT = "-"
OWN = "error of the reference"


@click.command("compare")
@click.argument("result", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    help="Data or observables to measure all by (default: what each was predicted beside).",
)
@shared(reads=lambda o: [*o["result"], o["reference"]])
def compare_command(console: Console, result: tuple[Path, ...], reference: Path | None) -> Done:
    """A table of RESULTs of one system: how each ended, its time, how far it is from the reference."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from bayescg.workflow.comparing import compare

    paths = list(dict.fromkeys(result))
    done = compare({str(p): load_result(p) for p in paths}, reference)
    return Done(done.summary(), table(done))


def table(done: "Comparison") -> str:
    """The comparison for people: a row a result, then what its numbers are and what to know of them."""
    names = done.distributions
    rows = [["", "method", "frames", "converged", "iterations", "time / s", *names]]
    for row in done.rows:
        told = {True: "yes", False: "NO", None: ABSENT}[row.converged]
        seconds = ABSENT if row.wall_seconds is None else f"{row.wall_seconds:.0f}"
        rms = [f"{row.distances[n].rms:.4f}" if n in row.distances else ABSENT for n in names]
        rows.append(
            [row.label, row.method, _whole(row.frames), told, _whole(row.iterations), seconds, *rms]
        )
    own = {n: next(r.distances[n] for r in done.rows if n in r.distances) for n in names}
    known = {n: d.reference_error for n, d in own.items() if d.reference_error >= 0.0}
    if known:
        shown = [f"{known[n]:.4f}" if n in known else ABSENT for n in names]
        rows.append([OWN, *[""] * 5, *shown])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(w) if k < 2 else cell.rjust(w)
            for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    if names:
        lines += [
            "",
            "Root-mean-square difference from the reference, over bins in which either holds something: "
            "of g(r) as it is,\nof densities relative to the largest value of the reference.",
        ]
    notes = [f"{r.label} did not converge: {r.ended}" for r in done.rows if r.converged is False]
    notes += [f"{row.label}: {note}" for row in done.rows for note in row.notes]
    notes += done.notes
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _whole(value: int | None) -> str:
    return ABSENT if value is None else str(value)
