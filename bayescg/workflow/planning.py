"""How long a fit and its prediction will take, and how much memory, from the same programs run for a short time."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import cycle, islice, pairwise
from pathlib import Path
import time
from typing import Any, NamedTuple

import jax
from jax import Array
import numpy as np
from scipy.optimize import nnls
import xarray as xr

from bayescg import results
from bayescg.infer.fit import Fit
from bayescg.infer.mcem import renewals
from bayescg.infer.nuts_run import NUTS
from bayescg.infer.options import MCEMOptions
from bayescg.infer.progress import Progress, Silent
from bayescg.infer.run import MCEM
from bayescg.infer.schedules import Newton, Schedule
from bayescg.io.targets import load_data
from bayescg.observables.base import Observable
from bayescg.predict import Production
from bayescg.system import System
from bayescg.workflow.assemble import to_inference_data
from bayescg.workflow.choices import choose_observables
from bayescg.workflow.measuring import Cost, Enough, Watch, available
from bayescg.workflow.prediction import picks, predict
from bayescg.workflow.predictive import copies_of
from bayescg.workflow.registry import make_system, run_of

__all__ = ["Cost", "Plan", "Search", "plan"]

ITERATIONS = 18  # of MC-EM; fits of the shipped systems took 13 to 25
MOVING = 12  # of them at the first number of sweeps, in which averages over iterations are soon forgotten
#: Sweeps of iterations that are timed, in first numbers of sweeps, again and again.
SCRIPT = (1, 1, 5)
#: Iterations in a row without a step taken back, after which that ends: of particles, and of lattices.
ENOUGH = {False: 3, True: 6}
TRIES = 24  # iterations, after which it ends without
INFORMATION = 4  # sweeps at the mode that are timed, in the same unit as those of the script
#: Times that chains of NUTS are shorter, and the fewest transitions of warm-up and of sampling each.
SHORTER = ((20, 50), (10, 100))
STEADY = 0.25  # of the mean time of a transition, that one takes at least when NUTS has adapted
BUDGET = 60.0  # s, after which a method that is timed by its progress is stopped
LENGTHS = ("warmup", "samples")  # options of NUTS that count transitions
BLOCK = 64  # draws of a lattice that are simulated at once
TRIAL = Production(warmup=6, measurements=20, thin=1)  # trajectories of particles that are timed
LONGER = 1.5  # times its length that a warm-up takes; up to 4 where energies drift


@dataclass(frozen=True)
class Search:
    """What MC-EM takes, by its parts; seconds."""

    rule: Schedule
    most: int  # iterations
    fixed: float  # before, between and after the iterations
    iteration: float  # of each, beside its sweeps
    sweep: float
    renewal: float  # of each group of chains that is cooled anew
    information: float  # of the sweeps at the mode

    def sweeps(self, iterations: int) -> list[int]:
        """Sweeps of each iteration: the first number while parameters move far, then as fast as averages grow."""
        rule, out = self.rule, [float(self.rule.start_sweeps())]
        while len(out) < iterations:
            last = out[-1]
            if isinstance(rule, Newton) and len(out) >= MOVING:
                last = min(last * (1.0 + rule.growth), rule.max_sweeps)
            out.append(last)
        return [int(s) for s in out]

    def cost(self, sweeps: Sequence[int], like: Cost) -> Cost:
        """Of iterations of so many sweeps each."""
        moved = cooled = groups = 0
        for n in sweeps:
            moved += self.rule.free_chains * n
            more, size = renewals(self.rule, moved, cooled)
            groups, cooled = groups + more, cooled + more * size
        moving = self.sweep * sum(sweeps) + self.renewal * groups + self.information
        return replace(like, fixed=self.fixed + self.iteration * len(sweeps), chains=moving)


@dataclass(frozen=True)
class Plan:
    """How long a fit and its prediction take, and how much memory they need, as far as it can be known before."""

    model: str  # that is fitted
    method: str  # by which
    fit: Cost  # of the fit
    longest: Cost  # the same at its most iterations
    prediction: Cost | None  # None: the method was stopped before it had a result
    draws: int | None  # that are predicted
    iterations: int | None  # of MC-EM, that ``fit`` assumes
    search: Search | None  # what an iteration of MC-EM takes
    devices: dict[int, str]  # and what does not go on so many; empty where all does
    available: int  # bytes of this machine, or of its accelerator
    notes: tuple[str, ...]  # what to know of the numbers, a sentence each
    seconds: float  # that it took to find out

    def after(self, seconds: float) -> "Plan":
        """With so many seconds more before each command computes."""
        fit, longest, prediction = (
            None if c is None else replace(c, fixed=c.fixed + seconds)
            for c in (self.fit, self.longest, self.prediction)
        )
        assert fit is not None and longest is not None
        search = self.search and replace(self.search, fixed=self.search.fixed + seconds)
        return replace(self, fit=fit, longest=longest, prediction=prediction, search=search)


def plan(
    model: str,
    data: str | Path | xr.Dataset,
    *,
    method: str = "mcem",
    options: Sequence[str] = (),
    method_options: Sequence[str] = (),
    draws: int | None = None,
    observables: Sequence[str | Observable] = (),
    iterations: int | None = None,
    devices: Sequence[int] = (1, 2, 4, 8),
    seed: int = 0,
    progress: Progress | None = None,
) -> Plan:
    """Run a fit and its prediction for a short time, and say what the whole of both would take. Nothing is written.

    :param model: a shipped name, or a path to a Python file; ``data``, ``method``, ``options``, ``method_options``,
        ``seed`` and ``progress`` as for :func:`fit`.
    :param draws: posterior draws to predict, and ``observables``, as for :func:`predict`.
    :param iterations: of MC-EM; default: 18, or as many as it may take where these are fewer.
    :param devices: numbers of devices like this one to plan for.
    :raises ValueError: for bad options or data.
    """
    if not devices or any(n < 1 for n in devices):
        raise ValueError(f"numbers of devices must be positive, got {_listed(devices) or 'none'}.")
    for name, given in (("draws", draws), ("iterations", iterations)):
        if given is not None and given < 1:
            raise ValueError(f"{name} must be at least 1, got {given}.")
    began = time.perf_counter()
    loaded = data if isinstance(data, xr.Dataset) else load_data(data)
    system = make_system(model, options, loaded, method)
    run = run_of(method, system, loaded, method_options)
    sites = loaded["x"].sizes["site"] if "x" in loaded else 1
    choose_observables(observables, system.known_observables, system.name, sites, system.box)
    if iterations is not None and not isinstance(run, MCEM):
        raise ValueError(f"only MC-EM has iterations to plan for, not {method}.")
    if iterations is not None and iterations > run.options.max_iterations:
        raise ValueError(
            f"the fit takes at most {run.options.max_iterations} iterations, got {iterations}; raise "
            "-M max_iterations."
        )

    results.inference_data({})  # loads what a prediction needs as well
    ready = time.perf_counter() - began
    key, tell = jax.random.key(seed), progress or Silent()
    exact = isinstance(run, NUTS) and run.options.log_partition == "exact"
    timed = _mcem if isinstance(run, MCEM) else _nuts if exact else _by_progress
    found = timed(run, key, tell)
    search, notes, count = found.search, list(found.notes), None
    fit = longest = found.cost
    if search is not None:
        usual = ITERATIONS if isinstance(search.rule, Newton) else search.most
        count = min(usual, search.most) if iterations is None else iterations
        fit, longest = (search.cost(search.sweeps(n), found.cost) for n in (count, search.most))
    prediction = picked = None
    if found.result is None:
        notes.append("the prediction is not known: the fit was stopped before it had any draws.")
    else:
        prediction, picked = _prediction(
            found.result, system, observables, draws, seed, fit.base, tell
        )
    notes += _assumed(run, fit, prediction)
    found_out = Plan(
        model,
        method,
        fit,
        longest,
        prediction,
        picked,
        count,
        search,
        {n: _uneven(n, run, found.latents, picked, system, sites) for n in devices},
        available(),
        tuple(notes),
        time.perf_counter() - began,
    )
    return found_out.after(ready)


class _Timed(NamedTuple):
    """A method that has run for a short time."""

    cost: Cost
    result: Any  # InferenceData; None: there is none yet
    search: Search | None = None
    notes: tuple[str, ...] = ()
    latents: int = 0  # chains of latents


class _Short(MCEMOptions):
    """MC-EM through a few iterations of given sweeps to its usual end."""

    def rule(self) -> Schedule:
        """The schedule, which grows by the script."""
        rule = super().rule()
        if not isinstance(rule, Newton):
            return rule
        first, most = rule.sweeps, rule.max_sweeps
        script = islice(cycle(SCRIPT), 1, None)

        class Scripted(Newton):
            def grow(self, effort: np.ndarray) -> int:
                return min(first * next(script), most)

        return Scripted(**vars(rule))


def _mcem(run: MCEM, key: Array, progress: Progress) -> _Timed:
    """MC-EM by its parts, from iterations of different numbers of sweeps."""
    o, rule = run.options, run.options.rule()
    # Every step is near enough, and the last of so many in a row is the end.
    shorter = {
        "tolerance": 1e9,
        "patience": ENOUGH[run.system.sampler.at is None],
        "max_iterations": TRIES,
        "information": min(o.information, INFORMATION * rule.start_sweeps()),
    }
    watch = Watch(progress, "calibrate")
    done = replace(run, options=_Short(**(vars(o) | shorter))).run(key, progress=watch)
    _check_whole(done)
    result = to_inference_data(done)

    rows, total = [], 0  # iterations, sweeps, groups of chains cooled; and whether it was timed
    moved = cooled = 0
    timed = {id(b): b.at - a.at for a, b in watch.steps("mcem")}
    seconds = []
    for row in (r for r in watch.rows if r.task == "mcem"):
        if row.numbers["iteration"] == 1:
            total = moved = cooled = 0
        sweeps = int(row.numbers["sweeps"]) - total
        total += sweeps
        moved += rule.free_chains * sweeps
        groups, size = renewals(rule, moved, cooled)
        cooled += groups * size
        rows.append((1, sweeps, groups))
        seconds.append(timed.get(id(row), np.nan))
    parts, known = np.array(rows, float), np.isfinite(seconds)
    each = _parts(parts[known], np.asarray(seconds)[known])
    turns = watch.steps("information")
    iteration, sweep, renewal = map(float, each)
    at_mode = sweep
    if turns:  # the second is timed, of the sweeps that the option names
        at_mode = (turns[0][1].at - turns[0][0].at) / shorter["information"]
    ran = max(shorter["information"] // 4, 1) + shorter["information"] if turns else 0
    whole = max(o.information // 4, 1) + o.information if o.information else 0
    used = float(parts.sum(0) @ each) + at_mode * ran
    cost = watch.cost(used, 0.0)
    search = Search(rule, o.max_iterations, cost.fixed, iteration, sweep, renewal, at_mode * whole)
    seen = done.program.sites.latent_observed
    moving = min(done.batch.x.shape[1], o.frames_per_step or done.batch.x.shape[1])
    return _Timed(cost, result, search, (), 0 if seen else moving * rule.clamped_chains)


def _parts(counts: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """What each part takes: of counts ``(run, part)`` and the seconds of the runs.

    By relative errors, for a run that something else has held up would outweigh all others.
    """
    found, _ = nnls(counts / seconds[:, None], np.ones(len(seconds)))
    return np.asarray(found)


def _check_whole(done: Fit) -> None:
    """Methods that end with what they have when they are interrupted would go on here."""
    if any("interrupted" in text for text in (done.ended, *done.messages)):
        raise KeyboardInterrupt


def _nuts(run: NUTS, key: Array, progress: Progress) -> _Timed:
    """NUTS with an exact log Z, from two runs of fewer transitions: those of a member are one compiled loop.

    The first transitions of a chain are long, for nothing is adapted, so that only their difference goes on.
    """
    o = run.options
    wanted = o.warmup + o.samples
    lengths, means, costs = [], [], []
    for part, least in SHORTER:
        few = {k: min(getattr(o, k), max(least, getattr(o, k) // part)) for k in LENGTHS}
        watch = Watch(progress, "calibrate", BUDGET)
        done = None
        with suppress(Enough):
            done = replace(run, options=replace(o, **few)).run(key, progress=watch)
        result = None if done is None else to_inference_data(done)
        loops = [watch.first(), *(b.at - a.at for a, b in watch.steps("nuts"))]
        lengths.append(sum(few.values()))
        means.append(float(np.mean(loops)))
        costs.append(watch.cost(sum(loops), 0.0))
        if done is None or lengths[-1] == wanted:
            break
    members = round(len(loops) / watch.rows[len(loops) - 1].done)
    each = means[-1] / lengths[-1]
    if len(lengths) == 2:
        gained = (means[1] - means[0]) / (lengths[1] - lengths[0])
        each = min(max(gained, STEADY * each), each)
    whole = members * (means[-1] + each * (wanted - lengths[-1]))
    # Its programs are of so many transitions each, and are compiled anew.
    most = max(c.compiler for c in costs)
    fixed = costs[-1].fixed + costs[-1].compiling
    cost = Cost(fixed, whole, 0.0, costs[0].base, most, most)
    if done is not None and done.program.shared:
        cost = replace(cost, fixed=cost.fixed + cost.chains, chains=0.0)
    return _Timed(cost, result)


def _by_progress(run: Any, key: Array, progress: Progress) -> _Timed:
    """Any other method, by how far it comes."""
    watch = Watch(progress, "calibrate", BUDGET)
    result = None
    with suppress(Enough):
        done = run.run(key, progress=watch)
        if not watch.stopped:
            _check_whole(done)
        result = to_inference_data(done)
    cost = watch.cost(0.0, 0.0)
    if not watch.stopped:
        return _Timed(cost, result)
    # What repeats itself within an iteration does not say how far the whole is.
    tasks = {r.task: [s for s in watch.rows if s.task == r.task] for r in watch.rows}
    whole = [
        own
        for own in tasks.values()
        if len(own) > 1 and own[-1].done < 1.0 and all(a.done <= b.done for a, b in pairwise(own))
    ]
    own = max(whole or [watch.rows], key=lambda rows: rows[-1].at)
    if own[-1].done == 0.0:
        raise ValueError(
            f"the fit was no part of its way after {BUDGET:.0f} s, from which nothing can be told; plan with fewer "
            "data or shorter options."
        )
    gain = own[-1].done - own[0].done
    begin = own[0].at if gain > 0.0 else 0.0
    rest = (1.0 - own[-1].done) * (own[-1].at - begin) / (gain if gain > 0.0 else own[-1].done)
    note = (
        f"the fit was stopped after {BUDGET:.0f} s, {own[-1].done:.0%} through {own[-1].task!r}; what follows that is "
        "not in its time, and it may end sooner."
    )
    return _Timed(replace(cost, fixed=cost.fixed + rest), result, notes=(note,))


def _prediction(
    result: Any,
    system: System,
    observables: Sequence[str | Observable],
    draws: int | None,
    seed: int,
    base: int,
    progress: Progress,
) -> tuple[Cost, int]:
    """What a prediction takes, and the draws that it simulates."""
    lattice = system.sampler.at is None
    picked = int(np.prod(picks(results.group(result, "posterior"), draws)))
    few = min(picked, 2 * BLOCK) if lattice else draws
    jax.clear_caches()
    watch = Watch(progress, "calibrate the prediction", mark="" if lattice else "predict")
    predict(
        result,
        observables,
        draws=few,
        seed=seed,
        progress=watch,
        system=system,
        production=TRIAL,
    )
    each = watch.seconds("predict")
    if lattice:
        return watch.cost(each * watch.count("predict"), each * -(-picked // BLOCK), base), picked
    usual = Production()
    move = watch.seconds("equilibrate")
    look = max(each - TRIAL.thin * move, 0.0)
    moved = move * watch.count("equilibrate") + each * watch.count("predict")
    passes = watch.count("predict") // TRIAL.measurements
    steps = LONGER * usual.warmup + usual.measurements * usual.thin
    whole = passes * (move * steps + look * usual.measurements)
    # All samples are kept, and weighed at the end.
    watch.meter.longer(usual.measurements / TRIAL.measurements)
    return watch.cost(moved, whole, base), picked


def _assumed(run: Any, fit: Cost, prediction: Cost | None) -> list[str]:
    """What the numbers take for granted, in words."""
    out = []
    if isinstance(run, MCEM):
        out.append(
            "how many iterations MC-EM takes cannot be known before: fits of the shipped systems took 13 to 25; "
            "members that run away are fitted again, which is not in it (--iterations plans for another number)."
        )
    compiling = fit.compiling + (prediction.compiling if prediction else 0.0)
    if compiling >= 1.0:
        out.append(
            f"compiled programs are kept on this machine; where they are not, {compiling:.0f} s more and up to "
            f"{max(c.compiler for c in (fit, prediction) if c) / 1e9:.1f} GB."
        )
    out.append(
        "devices are taken to be like this one; they share what chains do, and nothing else."
    )
    most = max(c.peak for c in (fit, prediction) if c)
    if most > available():
        lower = "--draws"
        if isinstance(run, MCEM):
            lower = "-M free_chains, -M clamped_chains, -M frames_per_step, -s frames or --draws"
        elif isinstance(run, NUTS):
            lower = "-M chains, -s frames or --draws"
        out.append(
            f"this needs {most / 1e9:.1f} GB, and there are {available() / 1e9:.1f} GB: lower {lower}."
        )
    return out


def _uneven(n: int, run: Any, latents: int, draws: int | None, system: System, sites: int) -> str:
    """What cannot be shared out evenly among ``n`` devices, in words; empty: nothing."""
    shared = []
    if isinstance(run, MCEM):
        shared = [(run.options.rule().free_chains, "-M free_chains")]
        shared += [(latents, "-s frames or -M clamped_chains")]
    elif isinstance(run, NUTS) and run.options.log_partition == "exact":
        shared = [(run.options.chains, "-M chains")]
    if draws is not None and system.sampler.at is not None:
        shared += [(draws * copies_of(draws, sites), "--draws")]
    return ", ".join(f"{count} chains ({option})" for count, option in shared if count % n)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
