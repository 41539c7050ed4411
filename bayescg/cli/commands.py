"""The commands; what they compute is done by the verbs of :mod:`bayescg.workflow`."""

from pathlib import Path
from typing import Any

import click

from bayescg import __version__
from bayescg.cli.border import Done, Group, shared
from bayescg.cli.compare import compare_command
from bayescg.cli.computing import on_devices, start_computing
from bayescg.cli.ending import ended, short
from bayescg.cli.export import export_command
from bayescg.cli.fit import fit_command
from bayescg.cli.import_ import import_command
from bayescg.cli.inputs import load_result, model_file, read_model
from bayescg.cli.map import map_command
from bayescg.cli.plan import plan_command
from bayescg.cli.words import OBSERVABLES, OUTPUT, SEED, SET
from bayescg.console import Console

__all__ = ["cli"]


@click.group(
    cls=Group,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="bayescg")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Bayesian coarse-graining: data in, an uncertain potential and its observables out."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@cli.command()
@shared()
def models(console: Console) -> Done:
    """Shipped systems, a line each."""
    from bayescg import workflow

    known = workflow.models()
    return Done({"models": dict(known)}, "\n".join(f"{name:12s} {text}" for name, text in known))


@cli.command()
@click.argument("model")
@SET
@SEED
@OUTPUT
@shared(reads=lambda o: [model_file(o["model"])], writes=lambda o: [o["output"]])
def reference(
    console: Console, model: str, settings: tuple[str, ...], seed: int, output: Path
) -> Done:
    """Make fine-grained data of MODEL: exact samples (ising), molecular dynamics (spce_water)."""
    from bayescg.files import check_writable

    check_writable(output)
    start_computing()
    from bayescg import io, workflow

    read_model(model)
    data = workflow.make_reference(model, settings, seed, progress=console)
    io.save(data, output)
    console.say(f"wrote {output}: {dict(data.sizes)}")
    return Done({"files": [str(output)], "sizes": data.sizes})


cli.add_command(map_command)
cli.add_command(import_command)


@cli.command()
@click.argument("data", type=click.Path(path_type=Path))
@OBSERVABLES
@OUTPUT
@shared(reads=lambda o: [o["data"]], writes=lambda o: [o["output"]])
def observe(console: Console, data: Path, observables: tuple[str, ...], output: Path) -> Done:
    """Measure observables on DATA, with standard errors."""
    from bayescg.files import check_writable, labelled, write_netcdf

    check_writable(output)
    start_computing()
    import xarray as xr

    from bayescg import io, workflow

    measured = workflow.observe(io.load(data), observables)
    write_netcdf(xr.DataTree(labelled(measured)), output)
    names = [str(n) for n in measured.data_vars if not str(n).endswith("_se")]
    console.say(f"wrote {output}: {', '.join(names)}")
    return Done({"files": [str(output)], "observables": names})


cli.add_command(fit_command)
cli.add_command(plan_command)


def _number(text: str | None) -> float | str | None:
    """One number as such; words that may be several, as they are."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _apart_from_itself(o: dict[str, Any]) -> list[Path | None]:
    """What `predict` reads and may not write: its result may well be added to in place."""
    from bayescg.files import same_file

    in_place = o["output"] is None or same_file(o["output"], o["result"])
    return [None if in_place else o["result"], o["reference"]]


@cli.command()
@click.argument("result", type=click.Path(path_type=Path))
@OBSERVABLES
@click.option("--draws", type=int, help="Posterior draws to use (default 200).")
@click.option(
    "--reference", type=click.Path(path_type=Path), help="Data or observables to compare with."
)
@click.option("--sites", type=int, help="Simulate so many molecules (particles).")
@click.option(
    "--temperature",
    metavar="K",
    help="Simulate at this temperature (particles); of a fit of several temperatures together: at these, a, a,b,c or "
    "first:last:count.",
)
@click.option("--box", type=float, help="Simulate in a cube of this edge, angstrom (particles).")
@click.option(
    "--mu",
    metavar="FIELDS",
    help="Predict at these fields, a, a,b,c or first:last:count (a lattice fitted with -s prior=curve).",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write (default: RESULT itself).",
)
@SEED
@shared(reads=_apart_from_itself, writes=lambda o: [o["output"] or o["result"]])
@on_devices
def predict(
    console: Console,
    result: Path,
    observables: tuple[str, ...],
    draws: int | None,
    reference: Path | None,
    sites: int | None,
    temperature: str | None,
    box: float | None,
    mu: str | None,
    output: Path | None,
    seed: int,
) -> Done:
    """Predict observables for the posterior draws of RESULT, perhaps under other conditions."""
    given = {"sites": sites, "temperature": _number(temperature), "box": box, "mu": mu}
    from bayescg.files import check_writable

    target = output or result
    if not result.is_file():
        raise FileNotFoundError(f"no such result: {result}; `bayescg fit` writes one.")
    check_writable(target)
    start_computing()
    from bayescg import results, workflow
    from bayescg.devices import is_first

    predicted = workflow.predict(
        load_result(result),
        observables,
        draws=draws,
        reference=reference,
        seed=seed,
        progress=console,
        conditions={k: v for k, v in given.items() if v is not None},
    )
    if is_first():
        results.save(predicted, target)
    summary, complaint = ended(console, predicted, target)
    if complaint and not console.muted:  # of the fit; the prediction that was asked for is done
        click.echo(f"bayescg: {complaint}", err=True)
    return Done(summary)


cli.add_command(compare_command)
cli.add_command(export_command)


@cli.command()
@click.argument("result", nargs=-1, required=True, type=click.Path(path_type=Path))
@OUTPUT
@shared(reads=lambda o: o["result"], writes=lambda o: [o["output"]])
def report(console: Console, result: tuple[Path, ...], output: Path) -> Done:
    """Write a self-contained HTML report of RESULT; further results are compared with it."""
    from bayescg.files import check_writable

    check_writable(output)
    start_computing()  # distributions of the fitted frames
    from bayescg import results
    from bayescg.report import write_report

    write_report([results.load(r) for r in result], output, [r.stem for r in result])
    console.say(f"wrote {output}")
    return Done({"files": [str(output)]})


def _demo_files(o: dict[str, Any]) -> list[Path]:
    from bayescg.workflow.demo import files_of

    return files_of(o["system"], _demo_folder(**o))


def _demo_folder(system: str, output: Path | None, **_: Any) -> Path:
    from bayescg.workflow.demo import SYSTEMS

    return SYSTEMS[system] if output is None else output


@cli.command()
@click.argument("system", type=click.Choice(("water", "ising")), default="water")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder to write (default: demo, for ising demo/ising).",
)
@click.option("--quick", is_flag=True, help="Few data, only to see it run.")
@shared(writes=_demo_files)
def demo(console: Console, system: str, output: Path | None, quick: bool) -> Done:
    """The main job on shipped data: fit, predict, report.

    SYSTEM is water (the default, minutes) or ising (all cases of the paper, half an hour).
    """
    folder = _demo_folder(system, output)
    start_computing()
    from bayescg.report import write_report
    from bayescg.workflow.demo import run_demo, run_water

    run = run_water if system == "water" else run_demo
    done = run(folder, quick=quick, progress=console, say=console.say, write_report=write_report)
    console.say("\nfiles:")
    for name in done["files"]:
        console.say(f"  {name}")
    console.say("key numbers:")
    for name, value in done["numbers"].items():
        console.say(f"  {name:44s} {short(value)}")
    failed = "" if done["numbers"]["converged"] else f"a fit did not converge; see {folder}."
    return Done(done, failed=failed)
