"""The command ``map``."""

from pathlib import Path
from typing import Literal

import click

from bayescg.cli.border import Done, shared
from bayescg.console import Console

__all__ = ["map_command"]


@click.command("map")
@click.argument("trajectory", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", required=True, type=click.Path(path_type=Path), help="Topology file.")
@click.option(
    "--map", "map_file", required=True, type=click.Path(path_type=Path), help="Map file (YAML)."
)
@click.option("--temperature", type=float, help="K; default: what the map file says.")
@click.option("--begin", type=int, default=0, show_default=True, help="First frame, from 0.")
@click.option("--end", type=int, help="First frame not to read (default: read all).")
@click.option("--stride", type=int, default=1, show_default=True, help="Read every so many frames.")
@click.option(
    "--forces",
    type=click.Choice(("auto", "yes", "no")),
    default="auto",
    show_default=True,
    help="Map forces; auto: if the first frame has them.",
)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write."
)
@shared(reads=lambda o: [*o["trajectory"], o["top"], o["map_file"]], writes=lambda o: [o["output"]])
def map_command(
    console: Console,
    trajectory: tuple[Path, ...],
    top: Path,
    map_file: Path,
    temperature: float | None,
    begin: int,
    end: int | None,
    stride: int,
    forces: Literal["auto", "yes", "no"],
    output: Path,
) -> Done:
    """Map TRAJECTORY, one file or several in order, to the beads of a map file."""
    from bayescg.files import check_writable

    check_writable(output)
    from bayescg.workflow.mapping import map_trajectory

    done = map_trajectory(
        trajectory,
        top,
        map_file,
        output,
        temperature=temperature,
        begin=begin,
        end=end,
        stride=stride,
        forces=forces,
        progress=console,
    )
    for notice in done.notices:
        console.say(f"note: {notice}")
    console.say(done.consistency.text)
    with_forces = "with forces" if done.forces else "without forces"
    console.say(f"wrote {output}: {done.frames} frames of {done.sites} sites, {with_forces}")
    return Done(
        {
            "files": [str(output)],
            "frames": done.frames,
            "sites": done.sites,
            "forces": done.forces,
            "momentum_consistent": done.consistency.holds,
            "messages": [*done.notices, done.consistency.text],
        }
    )
