"""``bayescg export``: a fitted model in the format of a program of molecular dynamics."""

import math
from pathlib import Path

import click

from bayescg.cli.border import Done, shared
from bayescg.cli.computing import start_computing
from bayescg.cli.inputs import load_result
from bayescg.console import Console

__all__ = ["export_command"]

#: Known here, so that help needs no import of what writes them.
FORMATS = ("lammps", "gromacs", "openmm", "hoomd", "table")


@click.command("export")
@click.argument("result", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_",
    required=True,
    type=click.Choice(FORMATS),
    help="The program that shall run it, or plain tables.",
)
@click.option(
    "--draws",
    type=int,
    help="Beside the posterior mean (in mean/) so many draws, in draw_001/ and so on.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder to write; new, or empty.",
)
@shared(reads=lambda o: [o["result"]], writes=lambda o: [o["output"]])
def export_command(
    console: Console, result: Path, format_: str, draws: int | None, output: Path
) -> Done:
    """Write the potentials of RESULT as tables and decks that run: the posterior mean, or draws too."""
    start_computing()
    from bayescg import workflow

    done = workflow.export(load_result(result), format_, output, draws=draws)
    for label, (low, high) in done["known"].items():
        angular = label.split()[0] in ("angle", "dihedral")
        unit, factor = ("degrees", 180.0 / math.pi) if angular else ("angstrom", 1.0)
        seen = f"between {factor * low:.4g} and {factor * high:.4g} {unit}"
        console.say(f"{label}: from data {seen}; the rest is extrapolated")
    console.say(f"wrote {output}: {len(done['folders'])} model(s), {len(done['files'])} files")
    files = [str(output / name) for name in done["files"]]
    return Done({**done, "files": files})
