"""The command line; imports lazily, so that help answers at once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import wraps
import json
from pathlib import Path
import sys
from typing import Any

import click

from bayescg.console import Console

__all__ = ["main"]

OK, FAILED, BAD = 0, 1, 2


class _Group(click.Group):
    """Commands in the order of a job, with a suggestion for a misspelt one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            close = get_close_matches(args[0], list(self.commands), 1)
            hint = f"; did you mean {close[0]!r}?" if close else ";"
            raise click.UsageError(
                f"unknown command {args[0]!r}{hint} known: {', '.join(self.commands)}."
            ) from None


def _shared(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command, and one-line errors with their exit codes."""

    @click.option("--quiet", is_flag=True, help="No progress, only errors.")
    @click.option("--json", "as_json", is_flag=True, help="A machine-readable summary on stdout.")
    @click.option(
        "--log",
        type=click.Path(path_type=Path),
        help="Append every event to this file, a JSON line each.",
    )
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @wraps(command)
    def run(quiet: bool, as_json: bool, log: Path | None, debug: bool, **options: Any) -> None:
        console = None
        try:
            if log is not None:
                from bayescg.files import check_writable

                check_writable(log)
            console = Console(quiet=quiet, log=log)
            summary, code = command(console, **options)
            console.close()
            if as_json:
                click.echo(json.dumps(summary, default=float))
            sys.exit(code)
        except KeyboardInterrupt:
            _fail(console, "interrupted; nothing was written.", 130)
        except NotImplementedError as error:
            if debug:
                raise
            _fail(console, str(error), FAILED)
        except (ValueError, OSError) as error:
            if debug:
                raise
            _fail(console, _one_line(error), BAD)

    return run


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def _fail(console: Console | None, message: str, code: int) -> None:
    if console is not None:
        console.close()
    click.echo(f"bayescg: {message}", err=True)
    sys.exit(code)


@contextmanager
def _computing() -> Iterator[None]:
    """Double precision, as every published number needs."""
    import jax

    jax.config.update("jax_enable_x64", True)
    yield


OUTPUT = click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write."
)
SET = click.option(
    "-s", "settings", multiple=True, metavar="KEY=VALUE", help="A model option; repeatable."
)
SEED = click.option(
    "--seed", default=0, show_default=True, help="Seed; recorded in what is written."
)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Bayesian coarse-graining: data in, an uncertain potential and its observables out."""


@cli.command()
@_shared
def models(console: Console) -> tuple[dict[str, Any], int]:
    """Shipped systems, a line each."""
    from bayescg import workflow

    known = workflow.models()
    if not console.quiet:
        for name, summary in known:
            click.echo(f"{name:12s} {summary}")
    return {"models": dict(known)}, OK


@cli.command()
@click.argument("model")
@SET
@SEED
@OUTPUT
@_shared
def reference(
    console: Console, model: str, settings: tuple[str, ...], seed: int, output: Path
) -> tuple[dict[str, Any], int]:
    """Make fine-grained data of MODEL: exact sampling for Ising."""
    from bayescg.files import check_writable

    check_writable(output)
    with _computing():
        from bayescg import io, workflow

        data = workflow.make_reference(model, settings, seed)
        io.save(data, output)
    console.say(f"wrote {output}: {dict(data.sizes)}")
    return {"files": [str(output)], "sizes": {str(k): v for k, v in data.sizes.items()}}, OK


@cli.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "-O",
    "observables",
    multiple=True,
    metavar="NAME[:key=value,...]",
    help="Observable; repeatable.",
)
@OUTPUT
@_shared
def observe(
    console: Console, data: Path, observables: tuple[str, ...], output: Path
) -> tuple[dict[str, Any], int]:
    """Measure observables on DATA, with standard errors."""
    from bayescg.files import check_writable, labelled, write_netcdf

    check_writable(output)
    with _computing():
        import xarray as xr

        from bayescg import io, workflow

        measured = workflow.observe(io.load(data), observables)
        write_netcdf(xr.DataTree(labelled(measured)), output)
    names = [str(n) for n in measured.data_vars if not str(n).endswith("_se")]
    console.say(f"wrote {output}: {', '.join(names)}")
    return {"files": [str(output)], "observables": names}, OK


def _options_page(title: str, options: Any) -> None:
    from bayescg.options import describe

    click.echo(f"{title}\n")
    for name, kind, default, text in describe(options):
        click.echo(f"  {name:18s} {text}\n  {'':18s}   [{kind}; default {default}]")


@cli.command()
@click.argument("model", required=False)
@click.option("-d", "--data", type=click.Path(path_type=Path), help="Data file.")
@click.option("-m", "--method", default="mcem", show_default=True, help="mcem, nuts or rem.")
@SET
@click.option(
    "-M", "method_settings", multiple=True, metavar="KEY=VALUE", help="A method option; repeatable."
)
@SEED
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Result file.")
@click.option("--help-method", metavar="METHOD", help="List a method's options.")
@click.option("--help-model", is_flag=True, help="List MODEL's options.")
@_shared
def fit(
    console: Console,
    model: str | None,
    data: Path | None,
    method: str,
    settings: tuple[str, ...],
    method_settings: tuple[str, ...],
    seed: int,
    output: Path | None,
    help_method: str | None,
    help_model: bool,
) -> tuple[dict[str, Any], int]:
    """Fit MODEL (a shipped name or path/to/file.py, which is run) to data."""
    if help_method is not None:
        from bayescg import workflow

        _options_page(
            f"Options of {help_method} (-M key=value):", workflow.method_options(help_method)
        )
        return {}, OK
    if model is None:
        raise click.UsageError(
            "name a model: bayescg fit MODEL -d data.nc -o result.nc; `bayescg models` lists them."
        )
    if help_model:
        from bayescg import workflow

        _options_page(f"Options of {model} (-s key=value):", workflow.model_options(model))
        return {}, OK
    if data is None or output is None:
        raise click.UsageError("fit needs -d data.nc and -o result.nc.")
    from bayescg.files import check_writable

    check_writable(output)
    with _computing():
        from bayescg import results, workflow

        result = workflow.fit(
            model,
            data,
            method=method,
            options=settings,
            method_options=method_settings,
            seed=seed,
            progress=console,
        )
        results.save(result, output)
        return _ended(console, result, output)


@cli.command()
@click.argument("result", type=click.Path(path_type=Path))
@click.option(
    "-O",
    "observables",
    multiple=True,
    metavar="NAME[:key=value,...]",
    help="Observable; repeatable.",
)
@click.option("--draws", type=int, help="Posterior draws to use (default 200).")
@click.option(
    "--reference", type=click.Path(path_type=Path), help="Data or observables to compare with."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="File to write (default: RESULT itself).",
)
@SEED
@_shared
def predict(
    console: Console,
    result: Path,
    observables: tuple[str, ...],
    draws: int | None,
    reference: Path | None,
    output: Path | None,
    seed: int,
) -> tuple[dict[str, Any], int]:
    """Predict observables for the posterior draws of RESULT."""
    from bayescg.files import check_writable

    target = output or result
    if not result.is_file():
        raise FileNotFoundError(f"no such result: {result}; `bayescg fit` writes one.")
    check_writable(target)
    with _computing():
        from bayescg import results, workflow

        predicted = workflow.predict(
            results.load(result),
            observables,
            draws=draws,
            reference=reference,
            seed=seed,
            progress=console,
        )
        results.save(predicted, target)
        summary, _ = _ended(console, predicted, target)
    return summary, OK


@cli.command()
@click.argument("result", nargs=-1, required=True, type=click.Path(path_type=Path))
@OUTPUT
@_shared
def report(console: Console, result: tuple[Path, ...], output: Path) -> tuple[dict[str, Any], int]:
    """Write a self-contained HTML report of RESULT; further results are compared with it."""
    from bayescg.files import check_writable

    check_writable(output)
    from bayescg import results
    from bayescg.report import write_report

    write_report([results.load(r) for r in result], output, [r.stem for r in result])
    console.say(f"wrote {output}")
    return {"files": [str(output)]}, OK


@cli.command()
@click.option(
    "-o", "--output", default="demo", type=click.Path(path_type=Path), help="Folder to write."
)
@click.option("--quick", is_flag=True, help="A few fields only, to see it run.")
@_shared
def demo(console: Console, output: Path, quick: bool) -> tuple[dict[str, Any], int]:
    """The main job on shipped data: fit, compare, predict, report."""
    with _computing():
        from bayescg.report import write_report
        from bayescg.workflow.demo import run_demo

        done = run_demo(
            output, quick=quick, progress=console, say=console.say, write_report=write_report
        )
    console.say("\nfiles:")
    for name in done["files"]:
        console.say(f"  {name}")
    console.say("key numbers:")
    for name, value in done["numbers"].items():
        console.say(
            f"  {name:44s} {value:.4g}" if isinstance(value, float) else f"  {name:44s} {value}"
        )
    return done, OK if done["numbers"]["converged"] else FAILED


def _ended(console: Console, result: Any, output: Path) -> tuple[dict[str, Any], int]:
    """Say how a run ended; the summary and the exit code."""
    from bayescg import results, workflow

    attrs = results.attrs(result)
    messages = attrs.get("messages", [])
    messages = json.loads(messages) if isinstance(messages, str) else list(messages)
    for message in messages:
        console.say(f"note: {message}")
    numbers = workflow.key_numbers(result)
    console.say(f"wrote {output}: " + ", ".join(f"{k}={_short(v)}" for k, v in numbers.items()))
    summary = {"files": [str(output)], "messages": messages, **numbers}
    if not int(attrs["converged"]):
        click.echo(
            f"bayescg: the fit did not converge ({attrs['ended']}); what it had is in {output}.",
            err=True,
        )
        return summary, FAILED
    return summary, OK


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Entry point: usage errors are one line, exit code 2."""
    try:
        code = cli.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else OK)
    except click.exceptions.Abort:
        _fail(None, "interrupted.", 130)
    except click.ClickException as error:
        _fail(None, " ".join(error.format_message().split()), BAD)


if __name__ == "__main__":
    main()
