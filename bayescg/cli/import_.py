"""The command ``import``."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from bayescg.cli.border import Done, shared
from bayescg.console import Console

__all__ = ["import_command"]


def _reads(o: dict[str, Any]) -> list[Path | None]:
    return [o["settings"], *o["maps"], o["configuration"], o["topology"], o["atoms"]]


@click.command("import")
@click.argument("settings", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Targets to write (netCDF).")
@click.option("--map-out", type=click.Path(path_type=Path), help="Map file to write (YAML).")
@click.option(
    "--cg", "maps", multiple=True, type=click.Path(path_type=Path), help="Map (XML); repeatable."
)
@click.option(
    "--conf",
    "configuration",
    type=click.Path(path_type=Path),
    help="Coarse-grained configuration: .gro or LAMMPS data (default: what SETTINGS names).",
)
@click.option(
    "--top",
    "topology",
    type=click.Path(path_type=Path),
    help="Its topology: .top or .xml (default: what SETTINGS names).",
)
@click.option(
    "--atoms",
    type=click.Path(path_type=Path),
    help="Atomistic .top or .gro, for the order of atoms in --map-out.",
)
@shared(reads=_reads, writes=lambda o: [o["output"], o["map_out"]])
def import_command(
    console: Console,
    settings: Path,
    output: Path | None,
    map_out: Path | None,
    maps: tuple[Path, ...],
    configuration: Path | None,
    topology: Path | None,
    atoms: Path | None,
) -> Done:
    """Carry a VOTCA project over: SETTINGS is its settings.xml, or a map (XML) for --map-out."""
    if output is None and map_out is None:
        raise click.UsageError("import needs -o targets.nc, --map-out map.yaml, or both.")
    if atoms is not None and map_out is None:
        raise click.UsageError("--atoms is for the map file; name it by --map-out map.yaml.")
    from bayescg.files import check_writable, write_atomically

    for path in (output, map_out):
        if path is not None:
            check_writable(path)
    from bayescg.workflow import importing

    messages = list[str]()
    targets = None
    if output is not None:
        targets = importing.import_targets(
            settings,
            maps=maps,
            configuration=configuration,
            topology=topology,
            say=messages.append,
        )
    text = None
    if map_out is not None:
        from bayescg.io.map_file import map_text

        spec = importing.import_map([settings, *maps], atoms=atoms, say=messages.append)
        text = map_text(spec)
    for message in messages:
        console.say(f"note: {message}")
    summary: dict[str, Any] = {"files": [], "messages": messages}
    with ExitStack() as both:  # neither gets its name before both are written
        if targets is not None and output is not None:
            from bayescg.io.targets import save_targets

            save_targets(targets, both.enter_context(write_atomically(output)))
        if text is not None and map_out is not None:
            part = both.enter_context(write_atomically(map_out))
            part.write_text(text, encoding="utf-8")
    if targets is not None:
        names = [f"{t.kind} {t.name}" for t in targets.targets]
        fixed = [f"{t.kind} {t.name}" for t in targets.fixed]
        kept = f"; as they are: {', '.join(fixed)}" if fixed else ""
        console.say(f"wrote {output}: {', '.join(names)} at {targets.temperature:.4g} K{kept}")
        summary["files"].append(str(output))
        summary |= {
            "targets": names,
            "potentials": [f"{t.kind} {t.name}" for t in targets.starts],
            "fixed": fixed,
            "count": targets.count,
            "temperature": targets.temperature,
        }
    if text is not None:
        console.say(f"wrote {map_out}")
        summary["files"].append(str(map_out))
    return Done(summary)
