"""Options of methods with a critic: which critic, and how parameters move."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bayescg.critics import Annealing, Critic, Logistic, Perceptron
from bayescg.infer.descent import Rule
from bayescg.infer.program import Program
from bayescg.infer.settling import Excursions
from bayescg.options import option

__all__ = ["CriticOptions", "DescentOptions", "NewtonOptions"]


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

    def newton(self) -> Excursions:
        """The rule of Newton's steps."""
        return Excursions(self.longest, self.tolerance, self.spread, self.reach)
