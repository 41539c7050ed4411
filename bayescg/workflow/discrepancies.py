"""The group of a prediction that allows for a wrong model, and what it says of the model in words."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import t as student
import xarray as xr

from bayescg import results
from bayescg.observables.base import Observable
from bayescg.observables.blocking import statistical_inefficiency
from bayescg.predict.discrepancy import Joint, joint_errors, truth
from bayescg.system import Batch

__all__ = ["Disagreement", "disagreements", "discrepancy_group", "in_words"]

FAMILY = 0.01  # chance that a right model is blamed for any component of one observable
_BLOCK = 64  # frames measured at once


def discrepancy_group(
    result: Any, chosen: Sequence[Observable], batch: Batch, predicted: xr.Dataset
) -> xr.Dataset | None:
    """Draws of each observable's true value, beside those of the model's prediction.

    Draws of a component lie in the order of those of the prediction, under the same labels. ``NAME_data`` and
    ``NAME_data_se`` are the average over the fitted frames and its standard error, ``NAME_z`` how many standard
    errors it is from the prediction, ``NAME_weight`` how much of the interval's centre comes from it.

    :param result: InferenceData with the ``log_likelihood`` of frames, where it is known.
    :param predicted: ``posterior_predictive``, ``(chain, draw, member?, *dims)``.
    :return: None for fewer than 20 draws, or two frames.
    """
    draws = predicted.sizes["chain"] * predicted.sizes["draw"]
    if draws < 20 or batch.x.shape[1] < 2:
        return None
    likelihood = _log_likelihood(result, batch, predicted)
    lead: tuple[str, ...] = () if batch.dim is None else (batch.dim,)
    variables: dict[str, Any] = {}
    for o in chosen:
        values = _per_draw(predicted[o.name].values, batch)
        errors = _per_draw(predicted[f"{o.name}_mcse"].values, batch)
        parts = []
        for m, x in enumerate(batch.x):
            frames = _of_frames(o, np.asarray(x, float))
            joint = joint_errors(
                values[:, m],
                frames,
                None if likelihood is None else likelihood[:, m],
                noise=np.mean(errors[:, m] ** 2, 0),
                inefficiency=_inefficiency(frames, batch),
            )
            parts.append(_labelled(joint, values[:, m]))
        drawn = np.stack([p.draws for p in parts], 1)  # (draw, member, *dims)
        about = predicted[o.name].attrs
        name, units = str(about.get("long_name", o.name)), str(about.get("units", "1"))
        variables[o.name] = (
            ("chain", "draw", *lead, *o.dims),
            drawn.reshape(predicted[o.name].shape),
            {"units": units, "long_name": f"true {name}, an error of the model allowed for"},
        )
        for key, text, unit in (
            ("data", f"average over the fitted frames of {name}", units),
            ("data_se", f"standard error of the average of {name}", units),
            ("z", f"standard errors from prediction to average, {name}", "1"),
            ("weight", f"weight of the data's average, {name}", "1"),
        ):
            v = np.stack([getattr(p, key) for p in parts])
            variables[f"{o.name}_{key}"] = (
                (*lead, *o.dims),
                v if lead else v[0],
                {"units": unit, "long_name": text},
            )
    out = xr.Dataset(variables)
    names = [str(d) for d in predicted.coords if str(d) in out.dims]
    about = {"shared_errors": "assumed" if likelihood is None else "of frames"}
    return out.assign_coords({d: predicted[d] for d in names}).assign_attrs(
        about, frames=int(batch.x.shape[1])
    )


def _log_likelihood(result: Any, batch: Batch, predicted: xr.Dataset) -> np.ndarray | None:
    """Of the predicted draws, ``(draw, member, frame)``; None where it is not stored."""
    if not results.has_group(result, "log_likelihood"):
        return None
    stored = results.group(result, "log_likelihood")
    if list(stored.data_vars) != ["x"]:
        return None
    value = stored["x"].sel(chain=predicted["chain"], draw=predicted["draw"])
    lead = ("chain", "draw", *([] if batch.dim is None else [batch.dim]), "frame")
    return _per_draw(value.transpose(*lead).values, batch)


def _per_draw(v: np.ndarray, batch: Batch) -> np.ndarray:
    """``(chain, draw, member?, ...)`` as ``(draw, member, ...)``."""
    flat = v.reshape(-1, *v.shape[2:])
    return flat if batch.dim is not None else flat[:, None]


def _of_frames(observable: Observable, x: np.ndarray) -> np.ndarray:
    """Values ``(frame, *dims)`` of configurations ``(frame, site[, axis])``."""
    run = jax.jit(observable)
    rows = [np.asarray(run(jnp.asarray(x[i : i + _BLOCK].T))) for i in range(0, len(x), _BLOCK)]
    return np.concatenate([np.moveaxis(r, -1, 0) for r in rows])


def _inefficiency(frames: np.ndarray, batch: Batch) -> np.ndarray | float:
    """Frames that count as one; those of lattices are independent."""
    return statistical_inefficiency(frames) if batch.x.ndim > 3 else 1.0


class _Part(NamedTuple):
    """Of one member."""

    draws: np.ndarray  # (draw, *dims)
    data: np.ndarray  # this and the rest (*dims)
    data_se: np.ndarray
    z: np.ndarray
    weight: np.ndarray


def _labelled(joint: Joint, predicted: np.ndarray) -> _Part:
    """Draws of the truth in the order of the prediction's."""
    found = truth(joint, len(predicted))
    order = np.argsort(np.argsort(predicted, 0, kind="stable"), 0)
    draws = np.take_along_axis(found.draws, order, 0)
    return _Part(draws, joint.data, np.sqrt(joint.data_variance), joint.z, found.weight)


class Disagreement(NamedTuple):
    """An observable that the model does not reproduce, at its worst."""

    name: str
    where: dict[str, float]  # coordinates
    z: float  # standard errors from the prediction to the data's average
    model: float
    data: float
    components: int  # how many of the observable's components disagree
    of: int


def disagreements(group: xr.Dataset, predicted: xr.Dataset) -> list[Disagreement]:
    """Observables whose data are farther from the prediction than chance allows, by Student's t.

    The threshold is family-wise 1 % over the components of an observable.
    """
    freedom = max(int(group.attrs.get("frames", 2)) - 1, 1)
    out = []
    for name in map(str, group.data_vars):
        if f"{name}_z" not in group:
            continue
        z = group[f"{name}_z"]
        limit = float(student.ppf(1.0 - 0.5 * FAMILY / z.size, freedom))
        bad = np.abs(z.values) > limit
        if not bad.any():
            continue
        worst = np.unravel_index(int(np.nanargmax(np.abs(z.values))), z.shape)
        where = {str(d): float(z[d].values[i]) for d, i in zip(z.dims, worst, strict=True)}
        model = float(predicted[name].mean(("chain", "draw")).values[worst])
        data = float(group[f"{name}_data"].values[worst])
        out.append(
            Disagreement(name, where, float(z.values[worst]), model, data, int(bad.sum()), z.size)
        )
    return out


def in_words(found: Sequence[Disagreement]) -> list[str]:
    """A sentence on each."""
    out = []
    for d in found:
        at = ", ".join(f"{k}={v:g}" for k, v in d.where.items())
        many = f" ({d.components} of {d.of} values disagree)" if d.of > 1 else ""
        out.append(
            f"the model does not reproduce the data's {d.name}{f' at {at}' if at else ''}: {d.model:.3g} against "
            f"{d.data:.3g}, {abs(d.z):.1f} standard errors apart{many}; its own interval there is not to be believed: "
            "take that of the group discrepancy."
        )
    return out
