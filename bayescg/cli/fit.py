"""``bayescg fit``: a model fitted to data by a method; anew, from where it was cut off, or as a result records."""

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from bayescg.cli.border import Done, shared, stamp
from bayescg.cli.computing import on_devices, start_computing
from bayescg.cli.ending import ended
from bayescg.cli.inputs import load_result, model_file, named_files, read_model
from bayescg.cli.words import METHOD_SET, SEED, SET
from bayescg.console import Console, duration

__all__ = ["fit_command"]

#: What a result records, and hence no option beside ``--from``.
RECORDED = {
    "model": "MODEL",
    "method": "-m",
    "settings": "-s",
    "method_settings": "-M",
    "seed": "--seed",
}


@click.command("fit")
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
@METHOD_SET
@SEED
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Result file.")
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with a fit that was cut off, from OUTPUT.checkpoint; all else as it began.",
)
@click.option(
    "--from",
    "source",
    metavar="RESULT",
    type=click.Path(path_type=Path),
    help="Repeat the fit of RESULT: its model, options, method, seed and data (or -d, if they are elsewhere now).",
)
@click.option("--help-method", metavar="METHOD", help="List a method's options.")
@click.option("--help-model", is_flag=True, help="List MODEL's options.")
@shared(
    reads=lambda o: [
        o["data"],
        o["source"],
        model_file(o["model"]),
        *named_files(o["method_settings"]),
    ],
    writes=lambda o: [o["output"]],
)
@on_devices
def fit_command(
    console: Console,
    model: str | None,
    data: Path | None,
    method: str,
    settings: tuple[str, ...],
    method_settings: tuple[str, ...],
    seed: int,
    output: Path | None,
    resume: bool,
    source: Path | None,
    help_method: str | None,
    help_model: bool,
) -> Done:
    """Fit MODEL (a shipped name or path/to/file.py, which is run) to data."""
    if help_method is not None:
        return _help_method(help_method, model)
    if source is not None:
        _check_alone()
        if output is None:
            raise click.UsageError("fit --from needs -o result.nc.")
    elif model is None:
        raise click.UsageError(
            "name a model: bayescg fit MODEL -d data.nc -o result.nc; `bayescg models` lists them."
        )
    elif help_model:
        return _help_model(model)
    elif data is None or output is None:
        raise click.UsageError("fit needs -d data.nc and -o result.nc.")
    from bayescg.files import check_apart, check_writable

    checkpoint = output.with_name(output.name + ".checkpoint")
    check_writable(output)
    check_writable(checkpoint)
    start_computing()
    from bayescg import results, workflow
    from bayescg.devices import is_first

    before = None
    if source is None:
        assert model is not None and data is not None
        read_model(model)
        job = workflow.Recorded(model, data, method, settings, method_settings, seed)
    else:
        before = load_result(source)
        job = workflow.recorded(before, data)
        for note in job.notes:
            console.say(f"note: {note}")
        code = model_file(job.model)
        named = [*named_files(job.method_options), *([] if code is None else [code])]
        check_apart([output], [job.data, *named])
    old = stamp(checkpoint)
    if old is not None and not resume:
        console.say(
            f"note: {checkpoint} is of a fit that was cut off, and --resume would go on with it; this fit starts anew, "
            f"and puts it aside as {checkpoint.name}.old when it writes its own."
        )
    goes_on = f"the same command with --resume goes on from {checkpoint}"
    try:
        result = workflow.fit(
            job.model,
            job.data,
            method=job.method,
            options=job.options,
            method_options=job.method_options,
            seed=job.seed,
            progress=console,
            checkpoint=checkpoint,
            resume=resume,
        )
    except KeyboardInterrupt:  # of a method that has no result before its end
        if checkpoint.exists():
            console.say(goes_on)
        raise
    if is_first():
        results.save(result, output)
    summary, complaint = ended(console, result, output)
    if before is not None:
        summary |= _compared(console, before, result, source)
    if "checkpoint" in results.attrs(result):
        console.say(goes_on)
    elif is_first() and (resume or stamp(checkpoint) != old):
        checkpoint.unlink(missing_ok=True)
    console.say(f"that took {duration(float(results.attrs(result)['wall_seconds']))}")
    return Done(summary, failed=complaint)


def _check_alone() -> None:
    """:raises click.UsageError: where what a result records is given too."""
    context = click.get_current_context()
    given = [
        word
        for name, word in RECORDED.items()
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    ]
    if given:
        raise click.UsageError(
            f"--from takes model, options, method and seed from the result: {', '.join(given)} cannot be given. "
            "Allowed beside it are -d, -o, --resume and the devices."
        )


def _compared(console: Console, before: Any, after: Any, source: Path | None) -> dict[str, Any]:
    """Say whether a repeated fit came to the same."""
    from bayescg import workflow

    apart = workflow.difference(before, after)
    if apart == 0.0:
        console.say(f"the posterior is that of {source}, to the last bit")
    else:
        console.say(
            f"the posterior differs from that of {source}, by up to {apart:.2g} of its standard deviations"
        )
    return {"repeats": apart == 0.0, "differs_by": apart}


def _help_method(method: str, model: str | None) -> Done:
    from bayescg import workflow

    if model is not None:
        read_model(model)
    whose = "" if model is None else f" for {model}"
    return _options_page(
        f"Options of {method}{whose} (-M key=value):", workflow.method_options(method, model)
    )


def _help_model(model: str) -> Done:
    from bayescg import workflow

    read_model(model)
    return _options_page(f"Options of {model} (-s key=value):", workflow.model_options(model))


def _options_page(title: str, options: Any) -> Done:
    from bayescg.options import describe

    lines, found = [f"{title}\n"], {}
    for name, kind, default, text in describe(options):
        lines.append(f"  {name:18s} {text}\n  {'':18s}   [{kind}; default {default}]")
        found[name] = {"type": kind, "default": default, "help": text}
    return Done({"options": found}, "\n".join(lines))
