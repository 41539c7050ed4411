"""``bayescg plan``: how long a fit and its prediction will take, and how much memory."""

from dataclasses import asdict
from pathlib import Path
import time
from typing import Any

import click

from bayescg.cli.border import Done, shared
from bayescg.cli.computing import start_computing
from bayescg.cli.inputs import model_file, named_files, read_model
from bayescg.cli.words import METHOD_SET, OBSERVABLES, SEED, SET
from bayescg.console import Console, duration

__all__ = ["plan_command"]


@click.command("plan")
@click.argument("model")
@click.option("-d", "--data", required=True, type=click.Path(path_type=Path), help="Data file.")
@click.option("-m", "--method", default="mcem", show_default=True, help="As for fit.")
@SET
@METHOD_SET
@OBSERVABLES
@click.option("--draws", type=int, help="Posterior draws to predict (default 200).")
@click.option("--iterations", type=int, help="Iterations of MC-EM to plan for (default 18).")
@click.option(
    "--devices",
    default="1,2,4,8",
    show_default=True,
    metavar="N,...",
    help="Numbers of devices like this one to plan for.",
)
@SEED
@shared(reads=lambda o: [o["data"], model_file(o["model"]), *named_files(o["method_settings"])])
def plan_command(
    console: Console,
    model: str,
    data: Path,
    method: str,
    settings: tuple[str, ...],
    method_settings: tuple[str, ...],
    observables: tuple[str, ...],
    draws: int | None,
    iterations: int | None,
    devices: str,
    seed: int,
) -> Done:
    """Say how long a fit of MODEL and its prediction will take, and how much memory.

    Both are run for a short time. Nothing is written.
    """
    numbers = _counts(devices)
    began = time.perf_counter()
    start_computing()
    from bayescg import workflow

    read_model(model)
    started = time.perf_counter() - began
    found = workflow.plan(
        model,
        data,
        method=method,
        options=settings,
        method_options=method_settings,
        draws=draws,
        observables=observables,
        iterations=iterations,
        devices=numbers,
        seed=seed,
        progress=console,
    ).after(started)
    return Done(_summary(found), _text(found))


def _counts(text: str) -> tuple[int, ...]:
    """Positive whole numbers, as ``1,2,4``."""
    words = [w.strip() for w in text.split(",")]
    if not all(w.isdecimal() and int(w) > 0 for w in words):
        raise ValueError(f"--devices takes positive numbers, as 1,2,4,8; got {text!r}.")
    return tuple(map(int, words))


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB"


def _summary(plan: Any) -> dict[str, Any]:
    commands = {"fit": plan.fit, "prediction": plan.prediction}
    known = {name: cost for name, cost in commands.items() if cost is not None}
    out: dict[str, Any] = {
        "model": plan.model,
        "method": plan.method,
        "iterations": plan.iterations,
        "most_iterations": None if plan.search is None else plan.search.most,
        "sweeps": None if plan.search is None else plan.search.sweeps(plan.iterations),
        "fit_seconds_at_most": plan.longest.seconds(),
        "draws": plan.draws,
        "parts": {name: asdict(cost) for name, cost in known.items()},
        "search": None,
        "devices": [
            {
                "devices": n,
                "not_shared_evenly": words,
                **{f"{name}_seconds": cost.seconds(n) for name, cost in known.items()},
                **{f"{name}_bytes": cost.memory(n) for name, cost in known.items()},
            }
            for n, words in plan.devices.items()
        ],
        "available_bytes": plan.available,
        "messages": plan.notes,
        "plan_seconds": plan.seconds,
    }
    if plan.search is not None:
        parts = ("fixed", "iteration", "sweep", "renewal", "information")
        out["search"] = {name: getattr(plan.search, name) for name in parts}
    return out


def _text(plan: Any) -> str:
    fit, prediction = plan.fit, plan.prediction
    takes = f"fit by {plan.method}: {duration(fit.seconds())}"
    if plan.search is not None:
        longest = duration(plan.longest.seconds())
        takes += f" for {plan.iterations} iterations, {longest} for all {plan.search.most} that it may take"
    lines = [f"{takes}; {_size(fit.peak)}"]
    if prediction is not None:
        lines.append(
            f"prediction of {plan.draws} draws: {duration(prediction.seconds())}; {_size(prediction.peak)}"
        )
    lines += ["", f"{'devices':>7s}  {'fit':>14s}  {'prediction':>14s}  memory of each"]
    for n, words in plan.devices.items():
        costs = [c for c in (fit, prediction) if c is not None]
        times = [duration(c.seconds(n)) for c in costs] + [""] * (2 - len(costs))
        most = _size(max(c.memory(n) for c in costs))
        lines.append(f"{n:7d}  {times[0]:>14s}  {times[1]:>14s}  {most}")
        if words:
            lines.append(f"{'':7s}  cannot share evenly: {words}")
    lines += ["", *plan.notes]
    return "\n".join(lines)
