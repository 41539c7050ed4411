"""The commands; what they compute is done by the verbs of :mod:`bayescg.workflow`."""

from pathlib import Path
from typing import Any

import click

from bayescg import __version__
from bayescg.cli.border import Done, Group, shared
from bayescg.cli.compare import compare_command
from bayescg.cli.computing import on_devices, start_computing
from bayescg.cli.export import export_command
from bayescg.cli.import_ import import_command
from bayescg.cli.inputs import load_result, model_file, named_files, read_model, said
from bayescg.cli.map import map_command
from bayescg.cli.plan import plan_command
from bayescg.console import Console

__all__ = ["cli"]


OUTPUT = click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write."
)
SET = click.option(
    "-s", "settings", multiple=True, metavar="KEY=VALUE", help="A model option; repeatable."
)
SEED = click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, 2**32 - 1),
    help="Seed; recorded in what is written.",
)
OBSERVABLES = click.option(
    "-O",
    "observables",
    multiple=True,
    metavar="NAME[:key=value,...]",
    help="Observable; repeatable.",
)


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


def _options_page(title: str, options: Any) -> Done:
    from bayescg.options import describe

    lines, found = [f"{title}\n"], {}
    for name, kind, default, text in describe(options):
        lines.append(f"  {name:18s} {text}\n  {'':18s}   [{kind}; default {default}]")
        found[name] = {"type": kind, "default": default, "help": text}
    return Done({"options": found}, "\n".join(lines))


@cli.command()
@click.argument("model", required=False)
@click.option("-d", "--data", type=click.Path(path_type=Path), help="Data file.")
@click.option(
    "-m",
    "--method",
    default="mcem",
    show_default=True,
    help="mcem, nuts, svi, smc, grow, rem, imc, ibi, dbi, fm, ybg, arcg or classifier.",
)
@SET
@click.option(
    "-M", "method_settings", multiple=True, metavar="KEY=VALUE", help="A method option; repeatable."
)
@SEED
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Result file.")
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with a fit that was cut off, from OUTPUT.checkpoint; all else as it began.",
)
@click.option("--help-method", metavar="METHOD", help="List a method's options.")
@click.option("--help-model", is_flag=True, help="List MODEL's options.")
@shared(
    reads=lambda o: [o["data"], model_file(o["model"]), *named_files(o["method_settings"])],
    writes=lambda o: [o["output"]],
)
@on_devices
def fit(
    console: Console,
    model: str | None,
    data: Path | None,
    method: str,
    settings: tuple[str, ...],
    method_settings: tuple[str, ...],
    seed: int,
    output: Path | None,
    resume: bool,
    help_method: str | None,
    help_model: bool,
) -> Done:
    """Fit MODEL (a shipped name or path/to/file.py, which is run) to data."""
    if help_method is not None:
        from bayescg import workflow

        if model is not None:
            read_model(model)
        whose = "" if model is None else f" for {model}"
        return _options_page(
            f"Options of {help_method}{whose} (-M key=value):",
            workflow.method_options(help_method, model),
        )
    if model is None:
        raise click.UsageError(
            "name a model: bayescg fit MODEL -d data.nc -o result.nc; `bayescg models` lists them."
        )
    if help_model:
        from bayescg import workflow

        read_model(model)
        return _options_page(f"Options of {model} (-s key=value):", workflow.model_options(model))
    if data is None or output is None:
        raise click.UsageError("fit needs -d data.nc and -o result.nc.")
    from bayescg.files import check_writable

    checkpoint = output.with_name(output.name + ".checkpoint")
    check_writable(output)
    check_writable(checkpoint)
    if checkpoint.exists() and not resume:
        old = checkpoint.with_name(checkpoint.name + ".old")
        checkpoint.replace(old)
        console.say(
            f"note: there was a checkpoint of a fit that was cut off, with which --resume would have gone on; it is "
            f"{old} now, and this fit starts anew."
        )
    start_computing()
    from bayescg import results, workflow
    from bayescg.devices import is_first

    read_model(model)
    result = workflow.fit(
        model,
        data,
        method=method,
        options=settings,
        method_options=method_settings,
        seed=seed,
        progress=console,
        checkpoint=checkpoint,
        resume=resume,
    )
    if is_first():
        results.save(result, output)
    summary, complaint = _ended(console, result, output)
    if "checkpoint" in results.attrs(result):
        console.say(f"the same command with --resume goes on from {checkpoint}")
    elif is_first():
        checkpoint.unlink(missing_ok=True)
    return Done(summary, failed=complaint)


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
    summary, complaint = _ended(console, predicted, target)
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
        console.say(f"  {name:44s} {_short(value)}")
    failed = "" if done["numbers"]["converged"] else f"a fit did not converge; see {folder}."
    return Done(done, failed=failed)


def _ended(console: Console, result: Any, output: Path) -> tuple[dict[str, Any], str]:
    """Say how a run ended; the summary, and the complaint if it did not converge."""
    from bayescg import results, workflow

    attrs = results.attrs(result)
    messages = said(attrs)
    for message in messages:
        console.say(f"note: {message}")
    numbers = workflow.key_numbers(result)
    console.say(f"wrote {output}: " + ", ".join(f"{k}={_short(v)}" for k, v in numbers.items()))
    summary = {"files": [str(output)], "messages": messages, **numbers}
    if int(attrs["converged"]):
        return summary, ""
    return (
        summary,
        f"the fit did not converge ({attrs['ended']}); what it had is in {output}.",
    )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
