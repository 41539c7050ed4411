"""Results side by side: how each ended, what it cost, how far what it predicts is from the reference."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayescg import io, results
from bayescg.observables.known import under_names
from bayescg.workflow.model_choice import ModelChoice, model_choice
from bayescg.workflow.verbs import observe

__all__ = ["Comparison", "Distance", "Row", "beside", "compare", "distance", "distributions"]

SAMPLES = ("chain", "draw")
#: Distributions whose differences are told as they are; of others relative to the largest value.
LATTICE = ("magnetization", "correlation")
PLAIN = ("rdf", *LATTICE)
#: How far two boxes or temperatures may be apart, relative to either, and be the same.
ALIKE = 1e-5


class Distance(NamedTuple):
    """How far a predicted distribution is from its reference, root mean squares over the bins."""

    rms: float  # of g(r) as is, of densities relative to the reference's largest value
    reference_error: float  # of the reference's standard errors, on the same scale; NaN: unknown
    prediction_error: float  # of the prediction's Monte Carlo errors; NaN: unknown
    scale: float  # what all three are divided by
    bins: int  # those in which either holds something


@dataclass(frozen=True)
class Row:
    """One result of a comparison.

    :param label: its file, or what it is called.
    :param converged: by the rule of its method; None where the file does not say, or there is none (DBI).
    :param iterations: None for methods that have none.
    :param distances: by name of the distribution.
    :param notes: what to know before its numbers are believed, and what to run where there are none.
    """

    label: str
    method: str
    frames: int | None
    converged: bool | None
    ended: str
    iterations: int | None
    wall_seconds: float | None
    distances: Mapping[str, Distance] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Rows in the order of the results, and what concerns them all.

    :param rows: one a result, in their order.
    :param choice: scores of the models themselves.
    :param notes: what concerns several of them, a sentence each.
    """

    rows: tuple[Row, ...]
    choice: ModelChoice
    notes: tuple[str, ...] = ()

    @property
    def distributions(self) -> tuple[str, ...]:
        """Every distribution that some result is measured by, joint ones last."""
        names = dict.fromkeys(n for row in self.rows for n in row.distances)
        return tuple(sorted(names, key=lambda n: n.startswith("joint_")))

    def summary(self) -> dict[str, Any]:
        """As JSON has it."""
        rows = []
        for row in self.rows:
            about = {k: v for k, v in vars(row).items() if k != "distances"}
            about["notes"] = list(row.notes)
            for name in ("rms", "reference_error", "prediction_error"):
                of = {k: _finite(getattr(d, name)) for k, d in row.distances.items()}
                about[name] = of
            rows.append(about)
        return {
            "results": rows,
            "distributions": self.distributions,
            "notes": list(self.notes),
            "model_choice": self.choice.summary(),
        }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def distributions(result: Any) -> list[str]:
    """Names of the distributions that a result predicts."""
    known = [str(n) for n, v in _predicted(result).data_vars.items() if set(v.dims) - {*SAMPLES}]
    return [n for n in known if not n.endswith("_mcse")]


def _predicted(result: Any) -> xr.Dataset:
    has = results.has_group(result, "posterior_predictive")
    return results.group(result, "posterior_predictive") if has else xr.Dataset()


def distance(result: Any, name: str, reference: xr.Dataset | None = None) -> Distance | None:
    """How far a prediction's mean is from the reference; None where there is none of either.

    Over the bins in which one of the two holds something. Of a point estimate that has the longer
    simulation ``map_predictive`` that one is taken.

    :param reference: distributions to measure by; None: those that the result holds.
    """
    if name not in distributions(result):
        return None
    if reference is None:
        if not results.has_group(result, "reference"):
            return None
        reference = results.group(result, "reference")
    if name not in reference:
        return None
    group = _predicted(result)
    point = int(np.prod([group.sizes[d] for d in SAMPLES])) == 1
    if point and results.has_group(result, "map_predictive"):
        longer = results.group(result, "map_predictive")
        group = longer if name in longer else group
    mean, noise = group[name], group.get(f"{name}_mcse")
    exact, error = beside(reference, name, mean)
    ours = _over_draws(mean)
    plain = name.startswith(PLAIN)
    at = np.isfinite(exact) & np.isfinite(ours)
    if not name.startswith(LATTICE):  # what is empty in both would only dilute the rest
        at &= (exact > 0.0) | (ours > 0.0)
    scale = 1.0 if plain or not at.any() else float(exact[at].max())
    if not at.any() or not scale > 0.0:
        return None

    def size(v: np.ndarray | None) -> float:
        known = np.zeros(0) if v is None else v[at][np.isfinite(v[at])]
        return float(np.sqrt(np.mean(known**2))) / scale if known.size else np.nan

    spread = (
        None if noise is None or (SAMPLES[0] in noise.dims and not point) else _over_draws(noise)
    )
    return Distance(size(ours - exact), size(error), size(spread), scale, int(at.sum()))


def _over_draws(value: xr.DataArray) -> np.ndarray:
    return np.asarray(value.mean([d for d in SAMPLES if d in value.dims]).values, float)


def beside(
    reference: xr.Dataset, name: str, predicted: xr.DataArray
) -> tuple[np.ndarray, np.ndarray | None]:
    """The reference and its standard error on the bins of a prediction, between its own where those differ.

    Outside its range an RDF is unknown, NaN; a density is zero.
    """
    dims = [d for d in predicted.dims if d not in SAMPLES]
    outside = np.nan if name.startswith(PLAIN) else 0.0

    def there(v: xr.DataArray) -> np.ndarray:
        values = np.asarray(v.values, float)
        for axis, (own, wanted) in enumerate(zip(v.dims, dims, strict=True)):
            at, to = (np.asarray(d.values, float) for d in (v[own], predicted[wanted]))
            if at.shape == to.shape and np.allclose(at, to, rtol=0.0, atol=1e-6 * np.ptp(at)):
                continue
            values = np.apply_along_axis(_between(at, to, outside), axis, values)
        return values

    # Stored tables may have their axes in another order.
    value = reference[name]
    if set(value.dims) == set(dims):
        value = value.transpose(*dims)
    error = reference.get(f"{name}_se")
    if error is not None:
        error = error.transpose(*value.dims)
    return there(value), None if error is None else there(error)


def _between(at: np.ndarray, to: np.ndarray, outside: float) -> Callable[[np.ndarray], np.ndarray]:
    """Linear interpolation from some places to others."""
    nearest = at[np.abs(at[None] - to[:, None]).argmin(1)]
    # A bin that is met but for rounding takes nothing of its neighbour.
    to = np.where(np.abs(nearest - to) < 1e-6 * np.ptp(at), nearest, to)
    return lambda y: np.interp(to, at, y, left=outside, right=outside)


def compare(
    named: Mapping[str, Any], reference: str | Path | xr.Dataset | None = None
) -> Comparison:
    """Compare results of one system.

    :param named: InferenceData by label.
    :param reference: distributions or frames to measure all of them by; None: what each was predicted
        beside.
    :raises ValueError: if there is no result, or they or the reference are of different systems.
    """
    if not named:
        raise ValueError("compare needs at least one result.")
    labels = list(named)
    about = {label: _system_of(r) for label, r in named.items()}
    for label in labels[1:]:
        apart = _apart(about[labels[0]], about[label])
        if apart:
            raise ValueError(
                f"{labels[0]} and {label} are of different systems: {apart}; allowed are results of one."
            )
    measured = None
    if reference is not None:
        measured = _measured(reference, named, about[labels[0]])
    rows = tuple(_row(label, r, measured, reference) for label, r in named.items())
    notes = () if measured is not None else _references(named)
    return Comparison(rows, model_choice(named), notes)


def _row(label: str, result: Any, reference: xr.Dataset | None, source: Any) -> Row:
    attrs = results.attrs(result)
    found = {n: distance(result, n, reference) for n in distributions(result)}
    distances = {n: d for n, d in found.items() if d is not None}
    notes = []
    if not distances:
        what = "no reference" if found else "not predicted"
        beside = source if isinstance(source, str | Path) else "REFERENCE.nc"
        notes.append(f"{what}; run: bayescg predict {label} --reference {beside}")
    conditions = results.mapping(attrs.get("predict_conditions"))
    if conditions:
        told = ", ".join(
            f"{k} = {v if isinstance(v, str) else format(v, 'g')}" for k, v in conditions.items()
        )
        notes.append(f"predicted under other conditions than the fit's: {told}")
    method = str(attrs.get("method", "?"))
    converged = None if method == "dbi" else attrs.get("converged")
    x = results.group(result, "observed_data") if results.has_group(result, "observed_data") else {}
    return Row(
        label,
        method,
        int(x["x"].sizes["frame"]) if "x" in x and "frame" in x["x"].sizes else None,
        bool(converged) if isinstance(converged, int | float) else None,
        str(attrs.get("ended", "not recorded")),
        _iterations(result, attrs),
        float(attrs["wall_seconds"]) if "wall_seconds" in attrs else None,
        distances,
        tuple(notes),
    )


def _iterations(result: Any, attrs: Mapping[str, Any]) -> int | None:
    if "iterations" in attrs:
        return int(attrs["iterations"]) or None
    if results.has_group(result, "em_trace"):
        return int(results.group(result, "em_trace").sizes["iteration"])
    return None


def _references(named: Mapping[str, Any]) -> tuple[str, ...]:
    """Whether results stand beside references that differ."""
    found = {label: r for label, r in named.items() if results.has_group(r, "reference")}
    groups = {label: results.group(r, "reference") for label, r in found.items()}
    first = next(iter(groups.values()), None)
    others = [label for label, g in groups.items() if not _same_values(first, g)]
    if not others:
        return ()
    return (
        f"{', '.join(others)} stand beside another reference than {next(iter(groups))}; give one to all "
        "by --reference.",
    )


def _same_values(one: xr.Dataset | None, other: xr.Dataset) -> bool:
    shared = [n for n in other.data_vars if one is not None and n in one]
    return all(
        one[n].shape == other[n].shape and np.allclose(one[n], other[n], equal_nan=True)  # type: ignore[index]
        for n in shared
    )


def _measured(
    reference: str | Path | xr.Dataset, named: Mapping[str, Any], system: Mapping[str, Any]
) -> xr.Dataset:
    """Distributions of a reference, those that it does not store measured on its frames."""
    ds = reference if isinstance(reference, xr.Dataset) else io.load_observables(reference)
    wanted = dict.fromkeys(n for r in named.values() for n in distributions(r))
    ds = under_names(ds, wanted)
    apart = _apart(system, _system_of_data(ds))
    if apart:
        raise ValueError(f"the reference is of another system than the results: {apart}.")
    missing = [n for n in wanted if n not in ds]
    # Without the topology, whose axes may be called as those of observables.
    held = ds[[v for n in wanted for v in (n, f"{n}_se") if v in ds]]
    if "x" in ds and missing and "axis" in ds["x"].dims:
        measured = observe(ds, missing)
        held = held.assign({v: measured[v] for n in missing for v in (n, f"{n}_se")})
    for name in [n for n in wanted if n in held]:
        theirs = held[name].attrs.get("norm")
        for label, r in named.items():
            ours = _predicted(r).get(name, held[name]).attrs.get("norm")
            if None not in (ours, theirs) and ours != theirs:
                raise ValueError(
                    f"the reference's {name} is normalised by {theirs}, that of {label} by {ours}; allowed is one "
                    f"norm: predict with -O {name}:norm={theirs}."
                )
    if wanted and not any(n in held for n in wanted):
        raise ValueError(
            f"the reference holds neither frames nor any of {', '.join(wanted)}; needed are either."
        )
    return held


def _system_of(result: Any) -> dict[str, Any]:
    """What tells one system from another, as far as a result holds it."""
    empty = xr.Dataset()
    observed, constants = (
        results.group(result, g) if results.has_group(result, g) else empty
        for g in ("observed_data", "constant_data")
    )
    options = results.mapping(results.attrs(result).get("model_options"))
    out: dict[str, Any] = {}
    if "x" in observed:
        out["kind"] = "sites in space" if "axis" in observed["x"].dims else "spins"
        out["number of sites"] = int(observed["x"].sizes["site"])
    if "box" in constants:
        out["box / angstrom"] = np.asarray(constants["box"].values, float).ravel()
    if "temperature" in options and "box" in constants:
        out["temperature / K"] = np.array([float(options["temperature"])])
    if "site_type" in constants:
        out["bead types"] = _counted(constants["site_type"].values)
    if "interaction_name" in constants:
        names = map(str, np.ravel(constants["interaction_name"].values))
        out["interactions"] = ", ".join(sorted(names))
    return out


def _system_of_data(data: xr.Dataset) -> dict[str, Any]:
    """The same of a data set."""
    out: dict[str, Any] = {}
    if "site" in data.sizes:
        out["number of sites"] = data.sizes["site"]
    if "box" in data.variables:
        out["box / angstrom"] = np.atleast_2d(np.asarray(data["box"].values, float))[0]
    if "temperature" in data.attrs:
        out["temperature / K"] = np.array([float(data.attrs["temperature"])])
    if "type" in data.variables and data["type"].dims == ("site",):
        out["bead types"] = _counted(data["type"].values)
    return out


def _counted(types: np.ndarray) -> str:
    names, counts = np.unique(np.array([str(t) for t in types]), return_counts=True)
    return ", ".join(f"{n} {name}" for name, n in zip(names, counts, strict=True))


def _apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """In what two systems differ, in words; empty if in nothing that both tell."""
    for what in one:
        if what not in other:
            continue
        a, b = one[what], other[what]
        if isinstance(a, np.ndarray):
            if a.shape != b.shape or not np.allclose(a, b, rtol=ALIKE, atol=0.0):
                return f"{what} is {_listed(a)} and {_listed(b)}"
        elif a != b:
            return f"{what}: {a} and {b}"
    return ""


def _listed(values: Sequence[float] | np.ndarray) -> str:
    return " x ".join(f"{v:g}" for v in values)
