r"""How parameters go down a noisy slope, and when they have arrived.

RMSProp moves each parameter by about its rate as long as its slope has one sign, and at random once noise is
all that is left of it. A natural step does the same to all parameters together: it goes against the slope in the
metric of the model's own distribution (S. Amari, Neural Comput. 10, 251 (1998)), so that parameters which do much
the same, as neighbouring functions of a spline, do not hold each other up. A stage of the search ends when over its
last ``window`` iterations no parameter went farther than ``drift`` of the way that it took; the next has half the
rate. The estimate is the average over the last stage (B. T. Polyak and A. B. Juditsky, SIAM J. Control Optim. 30,
838 (1992)).
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np

from bayescg.infer.curvature import Curvature
from bayescg.infer.steps import View
from bayescg.observables.blocking import blocked_error

__all__ = ["Descent", "Rule"]

SPIKE = 4.0  # times the root mean square, at which a slope is cut off
SMALL = 1e-12  # of a root mean square slope, below which a parameter matters to nothing
NEGLIGIBLE = 0.03  # of a standard deviation of what a configuration says of a parameter
DAMPING = 1e-3  # of a parameter's own information, added to the metric, which samples know as well as they can


@dataclass(frozen=True, eq=False)
class Descent:
    """Where a search is.

    :param u: parameters, ``(u,)``.
    :param square: running mean square of the slope, ``(u,)``; natural: of its length, the same for all.
    :param weight: how much of it is known; 1 after many steps.
    :param rate: by which the rates of this stage are multiplied.
    :param curvature: what natural steps know of the model's information.
    :param path: parameters in this stage, a row an iteration; ``slopes`` the slopes there.
    :param stage: stages that have ended.
    """

    u: np.ndarray
    square: np.ndarray
    weight: float = 0.0
    rate: float = 1.0
    stage: int = 0
    path: tuple[np.ndarray, ...] = ()
    slopes: tuple[np.ndarray, ...] = ()
    gone: tuple[np.ndarray, ...] = ()
    curvature: Curvature = Curvature(0.0)  # noqa: RUF009 - frozen

    @classmethod
    def start(cls, u: np.ndarray) -> Self:
        """At parameters ``u (u,)``, with nothing known of slopes."""
        return cls(u, np.zeros_like(u))


@dataclass(frozen=True)
class Rule:
    """RMSProp, or natural steps, in stages.

    :param rates: of each parameter, ``(u,)``: about its change in one step, in its unconstrained coordinate; natural:
        the length of a step, in standard deviations of what the model's configurations say of it.
    :param memory: of the mean square, from one iteration to the next.
    :param remember: of what a metric is made from.
    :param window: iterations that a stage is judged by, at least.
    :param drift: part of the way taken, below which a parameter is going nowhere; somewhat more where there are
        many parameters, 0.36 for 6 and 0.47 for 36 in place of 0.3. Natural steps also end when it went less than
        ``NEGLIGIBLE``.
    :param stages: how often the rate is halved.
    :param floor: added to the metric: a parameter goes five units at most for a standard deviation. Of a coefficient
        that hardly any configuration tells of, such as a spline's within a core, a single pair would otherwise make
        a hole in one step.
    :param kind: ``rmsprop``; ``natural``, steps in a metric; or ``plain``: a step is the rate times the slope.
    """

    rates: np.ndarray
    memory: float = 0.9
    remember: float = 0.95
    window: int = 40
    drift: float = 0.3
    stages: int = 4
    floor: float = 0.04
    kind: Literal["rmsprop", "natural", "plain"] = "rmsprop"

    def start(self, u: np.ndarray) -> Descent:
        """The first state of a search from parameters ``u (u,)``."""
        return replace(Descent.start(u), curvature=Curvature(self.remember))

    def advance(
        self, descent: Descent, slope: np.ndarray, view: View
    ) -> tuple[Descent, dict[str, Any]]:
        """One step down, with the metric that it needs."""
        shown, metric = {"rate": descent.rate}, None
        if self.kind == "natural":
            known = descent.curvature.after(view.scores)
            descent, metric = replace(descent, curvature=known), known.information
        return self.step(descent, slope, settled=view.quiet, metric=metric), shown

    def step(
        self,
        descent: Descent,
        slope: np.ndarray,
        *,
        settled: bool,
        metric: np.ndarray | None = None,
    ) -> Descent:
        """One step down.

        :param settled: whether the slope is that of what is looked for, without noise on features: only then
            a stage can end.
        :param metric: the information about the parameters that a configuration of the model has, ``(u, u)``;
            natural steps need it.
        """
        if self.kind == "natural":
            assert metric is not None
            new, change = self._together(descent, slope, metric)
        else:
            new, change = self._single(descent, slope)
        move = -descent.rate * self.rates * change
        path = (*descent.path, descent.u) if settled else ()
        slopes = (*descent.slopes, slope) if settled else ()
        gone = (*descent.gone, move) if settled else ()
        new = replace(new, u=descent.u + move, path=path, slopes=slopes, gone=gone)
        if not self._arrived(new, metric):
            return new
        if descent.stage == self.stages:
            return replace(new, stage=new.stage + 1)
        # The next stage begins where this one was on the average.
        middle = np.mean(new.path[-self.window // 2 :], 0)
        return replace(
            new,
            u=middle,
            rate=0.5 * new.rate,
            stage=new.stage + 1,
            path=(),
            slopes=(),
            gone=(),
        )

    def _single(self, descent: Descent, slope: np.ndarray) -> tuple[Descent, np.ndarray]:
        """Every parameter by itself, and the steps before rates."""
        if self.kind == "rmsprop" and descent.weight > 0.5:
            # One wild slope must not make the next steps small.
            known = SPIKE * np.sqrt(descent.square / descent.weight)
            most = np.where(known > 0.0, known, np.inf)
            slope = np.clip(slope, -most, most)
        square = self.memory * descent.square + (1.0 - self.memory) * slope**2
        weight = self.memory * descent.weight + (1.0 - self.memory)
        size = np.sqrt(square / weight)
        change = np.where(size > SMALL, slope / np.where(size > SMALL, size, 1.0), 0.0)
        return replace(descent, square=square, weight=weight), (
            slope if self.kind == "plain" else change
        )

    def _together(
        self, descent: Descent, slope: np.ndarray, metric: np.ndarray
    ) -> tuple[Descent, np.ndarray]:
        """All parameters together."""
        step = np.linalg.solve(metric + np.diag(self.floor + DAMPING * np.diag(metric)), slope)
        length = float(slope @ step)
        if descent.weight > 0.5:  # one wild slope, as above
            most = SPIKE**2 * float(descent.square[0]) / descent.weight
            if length > most > 0.0:
                step, length = step * np.sqrt(most / length), most
        square = self.memory * descent.square + (1.0 - self.memory) * length
        weight = self.memory * descent.weight + (1.0 - self.memory)
        size = float(np.sqrt(square[0] / weight))
        new = replace(descent, square=square, weight=weight)
        return new, step / size if size > SMALL else np.zeros_like(step)

    def _arrived(self, descent: Descent, metric: np.ndarray | None) -> bool:
        if len(descent.gone) < self.window:
            return False
        gone = np.stack(descent.gone[-self.window :])
        way = np.sum(np.abs(gone), 0)
        # Of many parameters that go nowhere some one always seems to go somewhere.
        many = max(1.0, np.sqrt(2.0 * np.log(way.size)) / 1.5)
        allowed = 1.0 - (1.0 - self.drift) ** many
        far = np.abs(gone.sum(0))
        nowhere = far <= allowed * way
        if metric is not None:  # nor does one matter that creeps where no configuration ever comes
            nowhere |= far * np.sqrt(np.diag(metric)) <= NEGLIGIBLE
        return bool(np.all(nowhere))

    def done(self, descent: Descent) -> bool:
        """Whether the last stage has ended."""
        return descent.stage > self.stages

    def found(self, descent: Descent) -> tuple[np.ndarray, float]:
        """The average over the last stage, and the mean slope there in its standard errors (rms)."""
        slopes = np.stack(descent.slopes)
        error = np.maximum(blocked_error(slopes), 1e-300)
        off = slopes.mean(0) / error
        return np.mean(descent.path, 0), float(np.sqrt(np.mean(off**2)))

    def best(self, descent: Descent, u: np.ndarray) -> np.ndarray:
        """Where it was last judged: where it would go from there nobody has been."""
        return u
