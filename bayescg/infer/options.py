"""Options of the methods, as users set them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

from bayescg.infer.robbins_monro import RobbinsMonro
from bayescg.infer.schedules import Newton, Schedule
from bayescg.options import option, with_options
from bayescg.system import System

__all__ = [
    "LIQUID",
    "LIQUID_CRITIC",
    "MCEMOptions",
    "NUTSOptions",
    "check_without_prior",
    "options_for",
]

#: What MC-EM needs on a liquid with latent sites around those of the data, where a lattice needs something else.
LIQUID: Mapping[str, Any] = {
    "free_chains": 32,
    "clamped_chains": 4,
    "cooling": 0.0,
    "growth": 1.0,
    "likelihood_first": 6,
    "warm": 12,
    "warm_precision": 100.0,
    "sweeps": 8,
    "radius": 1.0,
    "longest": 3.0,
    "most_missing": 0.99,
    "max_iterations": 150,
    "max_sweeps": 64,
    "tolerance": 0.25,
    "patience": 3,
    "information": 192,
    "laplace": "observed",  # the complete form takes sigma2 for as well known as if X were seen
}

#: And ARCG, on one whose potential is linear in many coefficients.
LIQUID_CRITIC: Mapping[str, Any] = {
    "features": "statistics",  # with which its slope is REM's; a model's own are there too
    "penalty": 0.01,
    "steps": "natural",
    "rate": 1.0,
    "decay": 0.9,
    "relax": 2,
    "samples": 6,
}

T = TypeVar("T")


def options_for(system: System, method: str, base: T, values: Mapping[str, Any]) -> T:
    """A method's options for a system: ``base``, then the system's own defaults, then ``values``.

    :raises ValueError: for an unknown option or a value that is not allowed.
    """
    own = with_options(base, system.method_defaults.get(method, {}), method)
    chosen = with_options(own, values, method)
    for name in ("schedule", "steps"):
        special = system.method_defaults.get(f"{method}, {name}={getattr(chosen, name, None)}")
        if special is not None:
            return with_options(with_options(own, special, method), values, method)
    return chosen


def check_without_prior(system: System, method: str) -> None:
    """Raise if a method without a prior is given a system whose option asks for one."""
    if system.options.get("prior", "flat") != "flat":
        raise ValueError(
            f"{method} has no prior; allowed is -s prior=flat, or a method that has one."
        )


@dataclass(frozen=True)
class MCEMOptions:
    """Options of MC-EM and of the Laplace approximation at its end."""

    schedule: Literal["newton", "paper", "literal"] = option(
        "newton",
        "newton (default); paper: Robbins-Monro of Eq. 33, scaled; literal: the same as printed",
    )
    start: str | None = option(
        None,
        "a result of the same model, whose posterior means the fit begins with; none: the model's start",
    )
    tolerance: float = option(
        0.1, "stop when the Newton step is below twice this many posterior sd, its error below it"
    )
    patience: int = option(1, "iterations in a row that must meet that rule")
    max_iterations: int = option(200, "most iterations")
    warmup: int = option(
        0,
        "sweeps of latent sites in space before the first iteration; chains of p_c begin where those end",
    )
    thin: int = option(1, "sweeps from one measurement of the chains to the next")
    information: int = option(
        0, "sweeps at the mode for the Laplace approximation; 0: the last step's averages"
    )
    laplace: Literal["auto", "complete", "observed"] = option(
        "auto",
        "form that `posterior` holds; auto: the lower k-hat where weights exist, else complete",
    )
    weights: bool = option(
        True, "correct draws by importance sampling, with log p(x | theta) exact or reweighted"
    )
    integrate_tau: bool = option(False, "under ARD, weigh by the posterior with tau integrated out")
    draws: int = option(500, "posterior draws")
    free_chains: int = option(256, "persistent chains of p_c (newton)")
    clamped_chains: int = option(16, "persistent chains of each q_i (newton)")
    max_sweeps: int = option(2048, "most sweeps an iteration (newton)")
    m_steps: int = option(5, "M-steps per E-step (newton)")
    sweeps: int = option(4, "sweeps of the first iterations (newton)")
    growth: float = option(
        0.5, "sweeps of an iteration, as a fraction of those that averages are worth (newton)"
    )
    likelihood_first: int = option(
        0, "first iterations, in which only parameters of p_cf move (newton)"
    )
    warm: int = option(16, "iterations before ARD is at full strength (newton)")
    warm_precision: float = option(1.0, "bound on ARD's precisions in those iterations (newton)")
    radius: float = option(0.5, "first radius of the trust region (newton)")
    longest: float = option(1.0, "its largest radius (newton)")
    most_missing: float = option(
        0.95, "largest fraction of missing information that a step believes (newton)"
    )
    drift: float = option(
        2.0,
        "error of averages that are carried over a step of 1 posterior sd; the more frames, the less (newton)",
    )
    cooling: float = option(
        1.0, "sweeps spent on cooling chains anew, as a fraction of those that sample (lattices)"
    )
    A: float = option(25.0, "offset of Eq. 33 (paper, literal)")
    alpha: float | None = option(
        None,
        "size of Eq. 33; none: 0.15 as printed (literal), or a first step of Newton's length (paper)",
    )
    rho: float = option(0.75, "decay of Eq. 33 (paper, literal)")
    m: int = option(170, "samples of p_c and of each q_i an iteration (paper, literal)")
    frames_per_step: int | None = option(
        None, "frames whose latents move in one E-step; none, or more than there are: all"
    )

    def __post_init__(self) -> None:
        for name in (
            "tolerance",
            "max_iterations",
            "patience",
            "draws",
            "free_chains",
            "clamped_chains",
            "max_sweeps",
            "m_steps",
            "sweeps",
            "growth",
            "thin",
            "radius",
            "longest",
            "drift",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")
        for name in ("likelihood_first", "information", "warmup"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}.")
        if self.draws < 2 or self.clamped_chains < 2 or self.free_chains < 2:
            raise ValueError("draws, free_chains and clamped_chains must be at least 2.")
        self.rule()  # says what is wrong with A, alpha, rho or m

    def rule(self) -> Schedule:
        """The schedule that the options name."""
        if self.schedule == "newton":
            return Newton(
                free_chains=self.free_chains,
                clamped_chains=self.clamped_chains,
                max_sweeps=self.max_sweeps,
                inner=self.m_steps,
                sweeps=self.sweeps,
                growth=self.growth,
                likelihood_first=self.likelihood_first,
                warm=self.warm,
                warm_precision=self.warm_precision,
                radius=self.radius,
                longest=self.longest,
                most_missing=self.most_missing,
                drift=self.drift,
                cooling=self.cooling,
            )
        form: Literal["scaled", "literal"] = "scaled" if self.schedule == "paper" else "literal"
        return RobbinsMonro(
            A=self.A, alpha=self.alpha, rho=self.rho, m=self.m, form=form, cooling=self.cooling
        )


#: Options of NUTS that go with a log Z that is learned.
LEARNED = ("latents", "moves", "precision", "start")


@dataclass(frozen=True)
class NUTSOptions:
    """Options of NUTS."""

    chains: int = option(4, "chains; at least 2, R-hat compares them")
    warmup: int = option(1000, "adaptation steps of each chain")
    samples: int = option(1000, "draws of each chain")
    target_accept: float = option(0.9, "target acceptance probability")
    max_tree_depth: int = option(10, "longest trajectory, as a power of two")
    mass: Literal["diagonal", "dense"] = option(
        "diagonal", "mass matrix; dense follows correlations of few parameters, as along a ridge"
    )
    log_partition: Literal["exact", "learned"] = option(
        "exact",
        "log Z: exact, latents summed out; or learned from simulations where the draws go",
    )
    latents: Literal["sampled", "data"] = option(
        "sampled",
        "sampled beside the parameters, or taken to be the data's, X = R(x), as by REM (learned)",
    )
    moves: int = option(4, "moves of the latents between two transitions (learned, sampled)")
    precision: float = option(
        0.05, "bias that the error of log Z may cause, in posterior sd (learned)"
    )
    start: str | None = option(
        None,
        "a result of the same model, where chains start; none: the model's start, score matching, or MC-EM (learned)",
    )

    def __post_init__(self) -> None:
        if min(self.warmup, self.samples, self.max_tree_depth) < 1 or self.chains < 2:
            raise ValueError(
                "warmup, samples and max_tree_depth must be at least 1, chains at least 2."
            )
        if self.moves < 1 or self.precision <= 0.0:
            raise ValueError("moves must be at least 1, and precision positive.")
        if self.log_partition == "exact":
            idle = [
                f.name
                for f in fields(self)
                if f.name in LEARNED and getattr(self, f.name) != f.default
            ]
            if idle:
                raise ValueError(
                    f"{', '.join(idle)} can be set with log_partition=learned only; an exact log Z has no use for it."
                )
        if not 0.0 < self.target_accept < 1.0:
            raise ValueError(f"target_accept must lie between 0 and 1, got {self.target_accept}.")
