"""A result as the report asks about it: its options, its sweep, which others compare with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
import json
import re
from typing import Any

import numpy as np

from bayescg import results
from bayescg.infer.resampling import BAD_KHAT, FEW_DRAWS
from bayescg.plot import COLOURS, interval_of
from bayescg.report.interactions import Interaction, fitted, interactions
from bayescg.units import BOLTZMANN

__all__ = [
    "ABSENT",
    "FLAT",
    "LINES",
    "MATCHED",
    "SAMPLES",
    "Case",
    "alike",
    "among",
    "cases_of",
    "give_or_take",
    "number",
    "printable",
    "rmse",
    "same_data",
    "shared",
    "unread",
]

SAMPLES = ("chain", "draw")
#: Stands in a table for what a fit does not have.
ABSENT = "–"
#: Methods that match distributions, and give a point.
MATCHED = ("dbi", "ibi", "imc", "rem")
#: Methods without a prior, whatever the model's options say.
FLAT = (*MATCHED, "ybg")
#: Options that say how much data, how REM breaks ties, or where along a sweep: not which system.
NOT_THE_SYSTEM = ("frames", "ties", "mu")
#: Options in which two compared fits may differ.
FREE: dict[str, tuple[str, ...]] = {
    "frames": (),
    "ratio": ("ratio", "L2", "L3"),
    "prior": ("prior", "prior_scale", "a0", "b0"),
}
#: Seven, which has no divisor in common with the eight colours: 56 fits differ in one or the other.
LINES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (3, 1, 1, 1)),
    (0, (1.5, 1)),
    (0, (8, 2)),
    (0, (6, 1, 1, 1, 1, 1)),
    (0, (4, 1, 4, 1, 1, 1)),
)


@dataclass(frozen=True, eq=False)
class Case:
    """One result with what the figures ask of it.

    :param label: its name, printable
    :param place: its place among the results, which gives its colour and line style
    """

    label: str
    idata: Any
    place: int = 0

    @cached_property
    def attrs(self) -> dict[str, Any]:
        """Root attributes."""
        return results.attrs(self.idata)

    @property
    def method(self) -> str:
        """Method of the fit."""
        return str(self.attrs.get("method", "?"))

    @cached_property
    def options(self) -> dict[str, Any]:
        """The model's options; empty where the file has none that can be read."""
        return _mapping(self.attrs.get("model_options"))

    @cached_property
    def method_options(self) -> dict[str, Any]:
        """The method's options."""
        return _mapping(self.attrs.get("method_options"))

    @cached_property
    def messages(self) -> list[str]:
        """What the fit said."""
        return results.told(self.attrs, "messages")

    @property
    def doubts(self) -> list[str]:
        """Of those, what is wrong with the posterior, by the records of ``bayescg.infer.health``."""
        found = self.attrs.get("doubts", [])
        records = json.loads(found) if isinstance(found, str) else found
        texts = [str(r.get("text")) for r in records if isinstance(r, dict)]
        return [t for t in texts if t in self.messages]

    @cached_property
    def predict_messages(self) -> list[str]:
        """What the prediction said."""
        return results.told(self.attrs, "predict_messages")

    @property
    def converged(self) -> bool | None:
        """Whether the fit converged by its own rule; None where the file does not say."""
        value = self.attrs.get("converged")
        return bool(value) if isinstance(value, int | float) else None

    @property
    def prior(self) -> str:
        """Prior of the coefficients that was used in the end, with its scale."""
        own = "flat" if self.method in FLAT else self.options.get("prior", "not recorded")
        found = str(self.attrs.get("prior_used", own))
        return printable(re.sub(r"\b(ard|normal)\b(?!\()", self._scaled, found), 60)

    def _scaled(self, name: re.Match[str]) -> str:
        """A prior's name with the options that it reads; bare where the file holds none."""
        scale, a0, b0 = (self.options.get(k) for k in ("prior_scale", "a0", "b0"))
        if name[0] == "normal" and isinstance(scale, int | float):
            return f"normal(0, {scale:g})"
        if name[0] == "ard" and isinstance(a0, int | float) and isinstance(b0, int | float):
            return f"ARD(a0={a0:g}, b0={b0:g})"
        return name[0]

    @property
    def frames(self) -> int | None:
        """Number of fitted data, N in the paper."""
        sizes = self.get("observed_data", "x").sizes if self.has("observed_data", "x") else {}
        return int(sizes["frame"]) if "frame" in sizes else None

    @property
    def in_space(self) -> bool:
        """Whether its sites are particles in space, and not spins of a lattice."""
        if self.has("observed_data", "x"):
            return "axis" in self.get("observed_data", "x").dims
        return self.has("posterior", "pair_potential")

    @property
    def is_molecular(self) -> bool:
        """Whether its potentials are by bead type and bonded term, of the model `molecular`."""
        return self.has("constant_data", "interaction_name")

    @property
    def is_matched(self) -> bool:
        """Whether it is a point at which distributions match, found in units of their errors."""
        return self.is_molecular and self.method in MATCHED

    @cached_property
    def interactions(self) -> tuple[Interaction, ...]:
        """Its potentials by bead type and bonded term, pairs first."""
        return interactions(results.group(self.idata, "constant_data"))

    @cached_property
    def fitted(self) -> Any:
        """Distributions of the fitted frames, a Dataset; None where fewer than two are stored."""
        return fitted(self.idata, self.options)

    @property
    def kt(self) -> float:
        """Thermal energy of the fit, kcal/mol."""
        return BOLTZMANN * float(self.options["temperature"])

    @property
    def effective(self) -> float | None:
        """Number of independent frames that the fitted ones are worth; None where not measured."""
        value = self.attrs.get("effective_frames")
        return float(value) if isinstance(value, int | float) else None

    @property
    def effective_in_words(self) -> str:
        """That number, as an upper bound where the frames are too few to tell."""
        if self.effective is None:
            return ABSENT
        at_most = "" if int(self.attrs.get("effective_frames_known", 1)) else "at most "
        return at_most + number(self.effective)

    @cached_property
    def elsewhere(self) -> dict[str, float]:
        """Conditions of the prediction that are not those of the fit, where they are numbers."""
        found = self.predicted_under
        return {k: float(v) for k, v in found.items() if isinstance(v, int | float)}

    @cached_property
    def predicted_under(self) -> dict[str, Any]:
        """The same with values of a sweep, in words: as the command line reads them."""
        found = _mapping(self.attrs.get("predict_conditions"))
        return {k: v for k, v in found.items() if isinstance(v, int | float | str)}

    @cached_property
    def _swept(self) -> Any:
        """A variable that has the sweep's dimension, and that dimension."""
        for group, name in (("observed_data", "x"), ("posterior", "theta_c"), ("posterior", "p0")):
            if self.has(group, name):
                known = (*SAMPLES, "frame", "site", "axis", "feature", "state", "p0_dim")
                value = self.get(group, name)
                dims = [str(d) for d in value.dims if d not in known and d in value.coords]
                if dims:
                    return value, dims[0]
        return None, None

    @property
    def dim(self) -> str | None:
        """The sweep's dimension, ``mu`` for the lattice; None for a single data set."""
        return self._swept[1]

    @property
    def sweep(self) -> np.ndarray:
        """Values of the sweep; empty for a single data set."""
        value, dim = self._swept
        return np.zeros(0) if dim is None else np.asarray(value[dim].values)

    @property
    def foreseen(self) -> np.ndarray:
        """Values of the sweep that are predicted, which may be others than those that were fitted."""
        if self.dim is not None and results.has_group(self.idata, "posterior_predictive"):
            found = results.group(self.idata, "posterior_predictive")
            if self.dim in found.coords:
                return np.asarray(found[self.dim].values)
        return self.sweep

    @property
    def name(self) -> str:
        """The label as a legend can hold it."""
        return printable(self.label, 36)

    @property
    def features(self) -> list[str]:
        """Names of the coefficients as an axis can hold them."""
        names = self.get("posterior", "theta_c")["feature"].values
        return [printable(n, 18) for n in names]

    @property
    def colour(self) -> str:
        """The same in every figure."""
        return COLOURS[self.place % len(COLOURS)]

    @property
    def line(self) -> Any:
        """Line style where curves of several fits share a panel, as a cue beside colour."""
        return LINES[self.place % len(LINES)]

    def has(self, group: str, name: str) -> bool:
        """Whether a variable is there."""
        return results.has_group(self.idata, group) and name in results.group(self.idata, group)

    def get(self, group: str, name: str) -> Any:
        """A variable."""
        return results.group(self.idata, group)[name]

    def has_group(self, group: str) -> bool:
        """Whether a group is there."""
        return results.has_group(self.idata, group)

    def get_group(self, group: str) -> Any:
        """A group."""
        return results.group(self.idata, group)

    def near(self, value: float, *, predicted: bool = False) -> dict[str, Any]:
        """The selection of the sweep's nearest value, of those fitted or predicted; empty without a sweep."""
        if self.dim is None:
            return {}
        at = self.foreseen if predicted else self.sweep
        return {self.dim: at[np.argmin(np.abs(at - value))]}

    def at(self, group: str, name: str, where: dict[str, Any]) -> Any:
        """A variable at one value of the sweep."""
        found = self.get(group, name)
        where = {d: v for d, v in where.items() if d in found.dims}
        return found.sel(where, method="nearest") if where else found

    @cached_property
    def is_point(self) -> bool:
        """Whether it holds a point estimate, as REM's, and no posterior: one chain of one draw."""
        if self.method == "rem":
            return True
        if not results.has_group(self.idata, "posterior"):
            return False
        sizes = results.group(self.idata, "posterior").sizes
        return bool(np.prod([sizes.get(d, 1) for d in SAMPLES]) == 1)

    def predicted(self, name: str) -> bool:
        """Whether the observable was predicted."""
        return self.has("posterior_predictive", name)

    def banded(self, name: str) -> bool:
        """Whether an interval of the prediction means anything: not for a single draw."""
        if self.is_point or not self.predicted(name):
            return False
        sizes = self.get("posterior_predictive", name).sizes
        return bool(sizes["chain"] * sizes["draw"] > 1)

    def mean(self, name: str) -> Any:
        """The prediction as one curve: the posterior mean, or that at a point estimate.

        The simulation behind ``map_predictive`` is the longer one, so a point estimate is judged
        by it: Monte Carlo error of a single short simulation would count against it.
        """
        if self.is_point and self.has("map_predictive", name):
            return self.get("map_predictive", name)
        return self.get("posterior_predictive", name).mean(SAMPLES)

    @cached_property
    def khat(self) -> np.ndarray | None:
        """k-hat of the importance weights, by field; None where nothing was to be weighed."""
        for group in ("map", "variational"):
            if not self.is_point and self.has(group, "khat"):
                return np.atleast_1d(self.get(group, "khat").values).astype(float)
        return None

    @cached_property
    def unreliable(self) -> np.ndarray | None:
        """Fields at which the importance weights are not to be trusted; None without weights."""
        if self.khat is None or np.isnan(self.khat).all():
            return None
        bad = ~(self.khat <= BAD_KHAT)
        if self.has("variational", "effective_draws"):
            value = np.atleast_1d(self.get("variational", "effective_draws").values)
            bad |= ~(value >= FEW_DRAWS)
        if self.has("map", "form"):
            # Which form of Laplace a field's draws came from was chosen field by field.
            for i, form in enumerate(np.atleast_1d(self.get("map", "form").values)):
                if self.has(f"laplace_{form}", "effective_draws"):
                    value = self.get(f"laplace_{form}", "effective_draws").values
                    bad[i] |= not np.atleast_1d(value)[i] >= FEW_DRAWS
        return bad

    def predicted_draws(self, name: str) -> int:
        """Draws that a prediction is made of."""
        sizes = self.get("posterior_predictive", name).sizes
        return int(np.prod([sizes.get(d, 1) for d in SAMPLES]))

    def interval(self, name: str) -> tuple[Any, Any]:
        """Ends of the credible interval of an observable, :func:`bayescg.plot.interval_of`."""
        ends = self.get("posterior_predictive", name).quantile(list(interval_of(name)), SAMPLES)
        return ends.isel(quantile=0, drop=True), ends.isel(quantile=1, drop=True)

    def held(self, name: str) -> float:
        """Share of the reference's points inside the interval."""
        low, high = self.interval(name)
        exact = self.get("reference", name)
        return float(((exact >= low) & (exact <= high)).mean())


def cases_of(idatas: Sequence[Any], labels: Sequence[str]) -> list[Case]:
    """Give every result its label and its place."""
    return [Case(printable(t), r, i) for i, (r, t) in enumerate(zip(idatas, labels, strict=True))]


def alike(main: Case, other: Case, free: str) -> bool:
    """Whether two fits differ in nothing but ``free`` (``frames``, ``ratio`` or ``prior``)."""
    if main.method != other.method or main.attrs.get("model") != other.attrs.get("model"):
        return False
    if main.dim != other.dim or (free != "frames" and main.frames != other.frames):
        return False
    one, two = ({k: v for k, v in _system(c).items() if k not in FREE[free]} for c in (main, other))
    return one == two


def unread(case: Case) -> tuple[str, ...]:
    """Options of the model that this fit did not read."""
    prior = ("prior_scale", "a0", "b0")
    if case.method in FLAT:
        return ("prior", *prior)
    own = {
        "ard": ("a0", "b0"),
        "normal": ("prior_scale",),
        "horseshoe": (),
        "flat": (),
        "curve": (),
    }
    used = own.get(str(case.options.get("prior")), prior)
    return ("ties", *(k for k in prior if k not in used))


def _system(case: Case) -> dict[str, Any]:
    """Options that define the fitted system."""
    gone = (*NOT_THE_SYSTEM, *unread(case))
    return {k: v for k, v in case.options.items() if k not in gone}


def shared(cases: Sequence[Case], *, predicted: bool = False) -> np.ndarray:
    """Values of the sweep that all results were fitted, or predict, at."""
    first, *others = (c.foreseen if predicted else c.sweep for c in cases)
    for values in others:
        first = first[among(first, values)]
    return first


def among(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which values of a sweep are among others, to rounding."""
    return np.asarray(np.isclose(values[:, None], others).any(1))


def same_data(a: Case, b: Case) -> bool:
    """Whether two results were fitted to the same data, at the fields that both have."""
    if not (a.has("observed_data", "x") and b.has("observed_data", "x")) or a.dim != b.dim:
        return False
    x, y = a.get("observed_data", "x"), b.get("observed_data", "x")
    if a.dim is not None:
        at = shared([a, b])
        x, y = (v.sel({a.dim: at}, method="nearest") for v in (x, y))
    return bool(np.array_equal(x.values, y.values))


def rmse(value: Any, exact: Any) -> float:
    """Root-mean-square difference."""
    return float(np.sqrt(np.mean((np.asarray(value) - np.asarray(exact)) ** 2)))


def number(value: float) -> str:
    """A number as tables show it."""
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    return "none" if np.isnan(value) else f"{value:.4g}".replace("-", "−")


def give_or_take(value: float, error: float) -> str:
    """A number with its standard error, to two digits of it; without, where it is unknown."""
    if not 0.0 < error < np.inf:
        return number(float(f"{value:.3g}"))
    digits = max(0, 1 - int(np.floor(np.log10(error))))
    return f"{value:.{digits}f} ± {error:.{digits}f}".replace("-", "−")


def printable(text: object, most: int = 80) -> str:
    """Text without control characters, cut to ``most`` of them."""
    clean = "".join(c if c.isprintable() else "?" for c in str(text))
    clean = clean if len(clean) <= most else clean[: most - 1] + "…"
    return f" {clean}" if clean.startswith("_") else clean  # matplotlib hides labels that begin so


def _mapping(text: object) -> dict[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return {}
    return {str(k): v for k, v in found.items()} if isinstance(found, dict) else {}
