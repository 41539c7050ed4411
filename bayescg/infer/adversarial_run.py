"""ARCG as a run: a system and data in, a :class:`Fit` out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import time
from typing import Any, Literal

import jax
from jax import Array
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg.critics import Annealing, Critic, Logistic, Perceptron
from bayescg.divergences import DIVERGENCES, Divergence, Judge
from bayescg.infer.adversarial import Searched, search
from bayescg.infer.begin import origin, program_of
from bayescg.infer.descent import Rule
from bayescg.infer.fit import Fit, Table
from bayescg.infer.histograms import over_frames
from bayescg.infer.options import check_without_prior
from bayescg.infer.program import Program
from bayescg.infer.progress import Progress
from bayescg.infer.settling import Newton
from bayescg.infer.steps import Steps
from bayescg.observables.base import Observable
from bayescg.options import option
from bayescg.system import Batch, System

__all__ = [
    "Adversarial",
    "CriticOptions",
    "DescentOptions",
    "NewtonOptions",
    "features_of",
    "judge_of",
]

LAST = (
    40  # iterations, over which the divergence and the accuracy that a search ended with are taken
)


@dataclass(frozen=True)
class CriticOptions:
    """Which critic, and what it sees."""

    critic: Literal["logistic", "perceptron"] = option(
        "logistic", "logistic regression by L-BFGS, or a small multilayer perceptron"
    )
    features: str = option(
        "auto",
        "what the critic sees: names with commas, of the model's own; `statistics`, the sufficient statistics of "
        "p_c; `auto`, all of the model's own, or those",
    )
    penalty: float = option(1e-3, "l2 penalty of the critic's weights")
    critic_steps: int = option(50, "most iterations of L-BFGS, or steps of Adam, in one fit")
    hidden: str = option("15,15,15,15", "widths of hidden layers (perceptron)")
    folds: int = option(
        2, "parts of the samples, each judged by what was fitted to the others; 1: all at once"
    )
    noise: float | None = option(
        None,
        "first standard deviation of the noise on whitened features; none: as much as it takes to err",
    )
    decay: float = option(0.95, "of the noise's variance, each time it becomes less")
    accuracy: float = option(0.8, "of the critic, below which it does")
    patience: int = option(1, "iterations in a row below it")

    def made(self) -> Critic:
        """The critic.

        :raises ValueError: for options out of range.
        """
        if self.critic == "logistic":
            return Logistic(self.penalty, self.critic_steps)
        try:
            hidden = tuple(int(w) for w in self.hidden.split(","))
        except ValueError:
            raise ValueError(
                f"hidden must be whole numbers with commas, got {self.hidden!r}."
            ) from None
        return Perceptron(hidden, self.critic_steps, penalty=self.penalty)

    def annealing(self) -> Annealing:
        """When noise becomes less."""
        return Annealing(self.decay, self.accuracy, self.patience)


@dataclass(frozen=True)
class DescentOptions:
    """How parameters move."""

    steps: Literal["rmsprop", "natural", "newton"] = option(
        "rmsprop",
        "each parameter by itself, or all of them together, in the metric of the model's distribution, or by Newton's "
        "steps on what differs between iterations, which end when simulation's error is small beside the data's, where "
        "the means of the features agree best, whatever the divergence; relax should be what a chain remembers",
    )
    rate: float = option(
        0.01,
        "of a step, in the unconstrained coordinate of a parameter; of natural steps, in standard deviations of what "
        "a configuration says of the parameters (not newton)",
    )
    rates: str = option(
        "", "of single parameters: name=rate with commas, as epsilon=0.02,sigma=0.005 (not newton)"
    )
    window: int = option(
        40, "iterations that a stage is judged by, at least (not newton, nor the next two)"
    )
    drift: float = option(
        0.3,
        "a stage ends when no parameter went farther in them than this part of its way (of many, more)",
    )
    stages: int = option(4, "how often the rate is then halved")

    def rule(self, program: Program, kind: Literal["plain"] | None = None) -> Rule:
        """The rule of other steps.

        :param kind: in place of the option ``steps``.
        :raises ValueError: for options out of range, or a name that is no parameter's.
        """
        if not self.rate > 0.0 or self.window < 4 or not 0.0 < self.drift < 1.0 or self.stages < 0:
            raise ValueError(
                "rate must be positive, window at least 4, drift between 0 and 1, stages not negative."
            )
        if kind is not None and self.steps != "rmsprop":
            raise ValueError(
                f"steps={self.steps} is for arcg; the classifier's verdict is added as it is."
            )
        rates = np.full(program.size, self.rate)
        for word in filter(None, self.rates.split(",")):
            name, _, text = word.partition("=")
            if name.strip() not in program.shapes:
                raise ValueError(
                    f"rates names {name.strip()!r}; allowed are {', '.join(program.shapes)}."
                )
            try:
                value = float(text)
            except ValueError:
                value = np.nan
            if not 0.0 < value < np.inf:
                raise ValueError(f"rates gives {word!r}; allowed is name=rate, a positive number.")
            rates[program.coordinates(name.strip())] = value
        return Rule(
            rates,
            window=self.window,
            drift=self.drift,
            stages=self.stages,
            kind=kind or ("natural" if self.steps == "natural" else "rmsprop"),
        )


@dataclass(frozen=True)
class NewtonOptions:
    """How parameters move by Newton's steps."""

    longest: float = option(
        3.0,
        "longest step of the optimum, in standard deviations of what a configuration says (newton)",
    )
    tolerance: float = option(
        0.5,
        "a search ends when simulation's standard errors and its last step are below this part of the data's (newton)",
    )
    spread: float = option(
        0.5,
        "how far from the optimum iterations simulate: change of what a critic sees, in standard deviations (newton)",
    )
    reach: float = option(
        0.12,
        "of the same at most, change of any parameter in its unconstrained coordinate: of a positive one, the part "
        "of it (newton)",
    )

    def __post_init__(self) -> None:
        for name in ("longest", "tolerance", "spread", "reach"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name):g}.")

    def newton(self) -> Newton:
        """The rule of Newton's steps."""
        return Newton(self.longest, self.tolerance, self.spread, self.reach)


def judge_of(divergence: str | Divergence, critic: str | Critic, options: Any) -> Judge:
    """The judge that options, or objects in their place, name.

    :raises ValueError: for an unknown divergence.
    """
    if isinstance(divergence, str):
        if divergence not in DIVERGENCES:
            raise ValueError(f"unknown divergence {divergence!r}; known: {', '.join(DIVERGENCES)}.")
        divergence = DIVERGENCES[divergence]
    return divergence.by(options.made() if isinstance(critic, str) else critic, options.folds)


def features_of(
    system: System, names: str, statistics: Callable[[Array], Array]
) -> tuple[Callable[[Array], Array], tuple[str, ...]]:
    """What a critic sees of configurations of sites that are compared: ``(feature, batch)``; and its names.

    :param names: as the option ``features`` has it.
    :param statistics: of p_c's potential, for where they are asked for.
    :raises ValueError: for a feature that the system does not have.
    """
    known = {o.name: o for o in system.critic_features}
    wanted = [n.strip() for n in names.split(",")]
    if wanted == ["auto"]:
        wanted = list(known) or ["statistics"]
    chosen: list[Observable | None] = []
    for name in wanted:
        if name == "statistics":
            if system.pre_map is not None:
                raise ValueError(
                    f"features=statistics are those of all sites of {system.name}, of which the data hold only "
                    f"some; allowed are {', '.join(known)}."
                )
            chosen.append(None)
        elif name in known:
            chosen.append(known[name])
        else:
            raise ValueError(
                f"{system.name} has no critic features {name!r}; allowed are "
                f"{', '.join([*known, 'statistics'])}."
            )

    def seen(x: Array) -> Array:
        parts = [statistics(x) if o is None else o(x) for o in chosen]
        return jnp.concatenate([p.reshape(-1, x.shape[-1]) for p in parts])

    return seen, tuple(wanted)


@dataclass(frozen=True)
class Adversarial:
    """A method with a critic on a system and data; ``run(key)`` does it.

    :param options: has the fields of :class:`AdversarialEffort` and :class:`CriticOptions`.
    :param rule: of the steps, for a program.
    :param judge: what finds a witness.
    :param downhill: as in :func:`~bayescg.infer.adversarial.search`.
    :param then: what goes on from where this one has converged to.
    """

    system: System
    data: xr.Dataset
    options: Any
    method: str
    judge: Judge
    rule: Callable[[Program], Steps]
    downhill: Callable[..., np.ndarray] | None = None
    then: "Adversarial | None" = None

    def run(self, key: Array, *, progress: Progress | None = None) -> Fit:
        """Search, from where the system starts.

        :raises ValueError: for a system without a map to what the data hold, a sweep, or features that it lacks.
        :raises FloatingPointError: if the first iteration already cannot be judged.
        """
        began = time.monotonic()
        system, o = self.system, self.options
        check_without_prior(system, self.method)
        batch = system.batch(self.data)
        if len(batch.x) != 1:
            raise ValueError(
                f"{self.method} fits one data set, not a sweep; choose one of its members."
            )
        map_key, run_key, further_key = jax.random.split(key, 3)
        x = self._compared(batch, map_key)
        fixed = {} if system.pre_map is not None else {"X": x[None]}
        fixed |= {k: np.full(1, v) for k, v in system.dirac.items()}
        program = program_of(system, batch, fixed)
        start = origin(system, program, batch.x, o.start)[0]
        found, names = self._searched(program, batch, x, run_key, start, progress)
        if self.then is not None and found.ended == "converged":
            try:
                more, _ = self.then._searched(program, batch, x, further_key, found.u, progress)
                found = _joined(found, more)
            except KeyboardInterrupt:
                found = found._replace(ended="interrupted")
            except FloatingPointError as error:
                found = found._replace(ended=f"converged, but not polished: {error}")
        return self._fit(found, program, batch, fixed, names, key, began)

    def _searched(
        self,
        program: Program,
        batch: Batch,
        x: np.ndarray,
        key: Array,
        start: np.ndarray,
        progress: Progress | None,
    ) -> tuple[Searched, tuple[str, ...]]:
        """A search from ``start``, with data ``x`` as they are compared; and what its critic saw."""
        system, o = self.system, self.options
        conditions = {k: jnp.asarray(v[0], float) for k, v in batch.conditions.items()}
        example = batch.x[0]
        potential = program.boltzmann(
            jnp.asarray(start), jnp.asarray(example[:1], float), conditions
        ).potential
        seen, names = features_of(system, o.features, potential.statistics)
        g = system.pre_map
        found = search(
            program,
            system.sampler,
            seen if g is None else (lambda X: seen(g(X))),
            over_frames(seen, x),
            self.judge,
            key,
            start,
            example=example,
            conditions=conditions,
            rule=self.rule(program),
            begin=self._beginning(batch) if o.begin == "data" else None,
            downhill=self.downhill,
            annealing=o.annealing(),
            penalty=o.penalty,
            noise=o.noise,
            effort=o,
            progress=progress,
        )
        return found, names

    def _beginning(self, batch: Batch) -> Callable[[Array, int], Array]:
        """Frames of the data, completed by the sites that they lack, for chains to begin in."""
        system = self.system
        if system.sampler.at is None:
            raise ValueError(
                f"begin=data is for sites in space, not for {system.name}; allowed is apart."
            )

        def places(key: Array, chains: int) -> Array:
            pick, fill = jax.random.split(key)
            frames = len(batch.x[0])
            chosen = jax.random.choice(pick, frames, (chains,), replace=chains > frames)
            x = jnp.asarray(batch.x[0], float)[chosen]
            return (x if system.complete is None else system.complete(fill, x)).T

        return places

    def _compared(self, batch: Batch, key: Array) -> np.ndarray:
        """The data at the resolution of comparison, ``(frame, ...)``: R or M of them."""
        system, x = self.system, np.asarray(batch.x[0], float)
        if system.pre_map is not None:
            return x
        if system.restriction is None:
            raise ValueError(f"{system.name} has no fine-to-coarse map, which {self.method} needs.")
        return np.asarray(system.restriction(jnp.asarray(x), key=key))

    def _fit(
        self,
        found: Searched,
        program: Program,
        batch: Batch,
        fixed: dict[str, np.ndarray],
        names: Sequence[str],
        key: Array,
        began: float,
    ) -> Fit:
        messages = list(batch.notices)
        if found.ended == "separated":
            messages.append(
                "the critic tells every configuration of the model from the data's, so that its slope says nothing; "
                "start nearer to the data (-s), or give it more noise (-M noise=4)."
            )
        elif found.ended != "converged":
            messages.append(
                f"{self.method} ended: {found.ended}, after {found.iterations} iterations; what is stored is the "
                "last state that could be judged."
            )
        failed = float(np.sum(found.trace["failed"]))
        if failed:
            messages.append(f"{failed:.0f} moves blew up and were taken back.")
        trace = {
            name: Table(
                ("iteration", "member", "parameter")
                if values.ndim > 1
                else ("iteration", "member"),
                values[:, None],
                MEANING[name],
            )
            for name, values in found.trace.items()
        }
        return Fit(
            method=self.method,
            system=self.system,
            batch=batch,
            program=program,
            draws=found.u[None, None, None],
            mode=found.u[None],
            approximation="one draw: the point estimate",
            converged=np.array([found.ended == "converged"]),
            ended=found.ended,
            messages=tuple(messages),
            seconds=time.monotonic() - began,
            exact=False,
            fixed=fixed,
            groups={"em_trace": trace},
            attrs={
                "iterations": found.iterations,
                "distance": found.distance,
                # Of few samples one wild ratio makes any mean wild.
                "divergence": float(np.median(_there(found.trace, "divergence"))),
                "critic_accuracy": float(np.mean(_there(found.trace, "accuracy"))),
                "critic_features": ", ".join(names),
                **batch.attrs,
            },
            options=self.options,
            key=key,
        )


def _there(trace: dict[str, np.ndarray], name: str) -> np.ndarray:
    """A number of the last iterations, of Newton's those that simulated at the optimum as it was known."""
    if "away" not in trace:
        return trace[name][-LAST:]
    there = trace[name][trace["away"] == 0.0]
    return there[len(there) // 2 :][-LAST:]


def _joined(first: Searched, then: Searched) -> Searched:
    """Two searches, one after the other; what only one of them knows is infinite in the other."""

    def rows(part: Searched, name: str) -> np.ndarray:
        if name in part.trace:
            return part.trace[name]
        other = (then if part is first else first).trace[name]
        return np.full((part.iterations, *other.shape[1:]), np.inf)

    names = list(dict.fromkeys([*first.trace, *then.trace]))
    return then._replace(
        iterations=first.iterations + then.iterations,
        seconds=first.seconds + then.seconds,
        trace={n: np.concatenate([rows(first, n), rows(then, n)]) for n in names},
    )


MEANING = {
    "u": "parameters that were simulated, unconstrained",
    "slope": "slope of the divergence by them",
    "divergence": "divergence, as the critic finds it with the noise there is",
    "accuracy": "part of the configurations whose origin the critic guesses right",
    "noise": "standard deviation of the noise on whitened features",
    "rate": "of the steps, relative to the first",
    "failed": "moves that blew up and were taken back",
    "optimum": "parameters where the divergence is least, by all iterations so far, unconstrained",
    "away": "of the parameters that were simulated from the optimum, in widths of the design",
    "least_seen": "of what a configuration says the part that the critic sees along the axis where that is least",
    "error_model": "standard errors of the optimum from the samples of the model, unconstrained",
    "error_data": "standard errors of the optimum from the frames of the data, unconstrained",
}
