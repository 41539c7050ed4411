"""``bayescg compare``: results of one system side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bayescg.cli.border import Done, shared
from bayescg.cli.computing import start_computing
from bayescg.cli.inputs import load_result
from bayescg.console import Console

if TYPE_CHECKING:
    from bayescg.workflow.comparing import Comparison
    from bayescg.workflow.model_choice import ModelChoice, Score

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
    """Tables of RESULTs of one system: how each ended and how far it is from the reference, and which model to prefer.

    Models of the same data are ranked by the expected log density of data left out (PSIS-LOO), and by their log
    evidence where they were fitted with -m smc.
    """
    start_computing()
    from bayescg.workflow.comparing import compare

    paths = list(dict.fromkeys(result))
    done = compare({str(p): load_result(p) for p in paths}, reference)
    return Done(done.summary(), table(done))


def table(done: "Comparison") -> str:
    """The comparison for people: a row a result, then what its numbers are and what to know of them."""
    names = done.distributions
    lines = _aligned(_rows(done), left=2)
    if names:
        lines += [
            "",
            "Root-mean-square difference from the reference, over bins in which either holds something: "
            "of g(r) as it is,\nof densities relative to the largest value of the reference.",
        ]
    notes = [f"{r.label} did not converge: {r.ended}" for r in done.rows if r.converged is False]
    notes += [f"{row.label}: {note}" for row in done.rows for note in row.notes]
    notes += done.notes
    lines += ["", *notes] if notes else []
    return "\n".join([*lines, *_choice(done.choice)])


def _rows(done: "Comparison") -> list[list[str]]:
    """How each result ended, and its distances to the reference."""
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
    return rows


def _choice(choice: "ModelChoice") -> list[str]:
    """Which model to prefer: a row a result that has a score, best first; then what the scores do not tell."""
    scored = [r for r in choice.rows if r.elpd or r.evidence]
    lines = []
    if scored:
        several = len({r.data for r in choice.rows}) > 1
        lead = ["data"] if several else []
        rows = [["", *lead, "rank", "elpd", "behind", "p_loo", "k-hat", "log evidence", "behind"]]

        def place(row: Any) -> tuple[int, int, int]:
            ranks = [s.rank if s else len(scored) for s in (row.elpd, row.evidence)]
            return row.data, *ranks

        for r in sorted(scored, key=place):
            khat = ABSENT if r.khat is None else f"{r.khat:.2f}"
            p_loo = ABSENT if r.p_loo is None else f"{r.p_loo:.1f}"
            rank = ABSENT if r.elpd is None else str(r.elpd.rank)
            own = [str(r.data)] if several else []
            rows.append([r.label, *own, rank, *_score(r.elpd), p_loo, khat, *_score(r.evidence)])
        lines += [
            "",
            *_aligned(rows, left=1),
            "",
            "Which model to prefer, in nats, +- a standard error: elpd is the expected log density of a datum left "
            "out, added over the data\n(PSIS-LOO); log evidence is that of all data under model and prior.",
        ]
    if choice.notes and (scored or len(choice.rows) > 1):
        lines += ["", *choice.notes]
    return lines


def _score(score: "Score | None") -> list[str]:
    if score is None:
        return [ABSENT, ABSENT]
    behind = "0" if score.rank == 1 else _give_or_take(score.behind, score.behind_se)
    return [_give_or_take(score.value, score.se), behind]


def _give_or_take(value: float, error: float) -> str:
    return f"{value:.2f} +- {error:.2f}"


def _aligned(rows: list[list[str]], left: int) -> list[str]:
    """Rows as lines, the first ``left`` columns flush left."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if k < left else cell.rjust(w)
            for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _whole(value: int | None) -> str:
    return ABSENT if value is None else str(value)
