"""The group of a prediction that allows for a wrong model, and what it says of the model in words."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from bayescg import results
from bayescg.distributions import MarkovPath
from bayescg.infer.program import Program
from bayescg.observables.base import Observable
from bayescg.observables.blocking import statistical_inefficiency
from bayescg.predict.discrepancy import Joint, joint_errors, misfit, truth
from bayescg.predict.shrinkage import (
    PER_PARAMETER,
    predicted_joint,
    predicted_width,
    prior_precision,
    variance_ratio,
)
from bayescg.system import Batch
from bayescg.workflow.verbs import frame_by_frame

__all__ = ["Disagreement", "disagreement_in_words", "disagreements", "discrepancy_group"]

TIMES = (2.0, 4.0, 10.0)  # as many frames, for which the widths of intervals are predicted
FAMILY = 0.01  # chance that a right model is blamed for an observable, at any member


def discrepancy_group(
    result: Any,
    chosen: Sequence[Observable],
    batch: Batch,
    predicted: xr.Dataset,
    u: np.ndarray,
    program: Program,
    rng: np.random.Generator,
) -> xr.Dataset | None:
    """Draws of each observable's true value, beside those of the model's prediction.

    Draws of a component lie in the order of those of the prediction, under the same labels. ``NAME_data`` and
    ``NAME_data_se`` are the average over the fitted frames and its standard error, ``NAME_z`` how many standard
    errors it is from the prediction, ``NAME_weight`` how much of the interval's centre comes from it, and
    ``NAME_misfit`` how probable so large a difference is where the model is right, all components at once. Along
    ``times``, as many times the frames, ``NAME_within_more`` and ``NAME_allowed_more`` are how wide either 90 %
    interval is expected to be then, relative to now; they need ten draws a parameter, and a prior without scales of its
    own (the horseshoe's). Each component stands for itself: draws lie in an order, but tell nothing of how errors of
    the model at different components go together.

    :param result: InferenceData with the ``log_likelihood`` of frames, where it is known.
    :param predicted: ``posterior_predictive``, ``(chain, draw, member?, *dims)``.
    :param u: parameters of its draws, ``(draw, member, u)``.
    :return: None for fewer than 20 draws, or two frames.
    """
    draws = predicted.sizes["chain"] * predicted.sizes["draw"]
    if draws < 20 or batch.x.shape[1] < 2:
        return None
    in_space = batch.x.ndim > 3
    ordered = in_space or _is_path(program, batch, u)
    # Of frames that depend on each other, log p(x_i | the others) is not what a frame's weight changes.
    likelihood = None if ordered else _log_likelihood(result, batch, predicted)
    lead: tuple[str, ...] = () if batch.dim is None else (batch.dim,)
    variables: dict[str, Any] = {}
    enough = len(u) >= PER_PARAMETER * u.shape[2] and not program.scales
    priors = _prior_precisions(program, batch, u) if enough else None
    worth = float(batch.x.shape[1])  # independent frames, of the observable that has the fewest
    for o in chosen:
        values = _per_draw(predicted[o.name].values, batch)
        errors = _per_draw(predicted[f"{o.name}_mcse"].values, batch)
        parts, misfits = [], []
        for m, x in enumerate(batch.x):
            frames = frame_by_frame(o, np.asarray(x, float))
            noise = np.mean(errors[:, m] ** 2, 0)
            joint = joint_errors(
                values[:, m],
                frames,
                None if likelihood is None else likelihood[:, m],
                noise=noise,
                common_noise=in_space,  # draws of particles share their samples
                inefficiency=statistical_inefficiency(frames) if ordered else 1.0,
            )
            worth = min(worth, float(np.median(joint.freedom)) + 1.0)
            misfits.append(misfit(joint, rng, FAMILY / len(batch.x)))
            more = None
            if priors is not None:
                own = 0.0 if in_space else noise
                more = _more(joint, u[:, m], values[:, m], priors[m], own)
            parts.append(_labelled(joint, values[:, m], more))
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
        variables[f"{o.name}_misfit"] = (
            lead,
            np.array(misfits) if lead else misfits[0],
            {
                "units": "1",
                "long_name": f"probability of such a difference under the model, {name}",
            },
        )
        for i, (key, text) in enumerate(
            (("within", "within the model"), ("allowed", "that allows for the model's error"))
        ):
            if priors is not None:
                v = np.stack([p.more[i] for p in parts if p.more is not None], 1)  # (times, member)
                variables[f"{o.name}_{key}_more"] = (
                    ("times", *lead, *o.dims),
                    v if lead else v[:, 0],
                    {"units": "1", "long_name": f"width of the interval {text}, relative to now"},
                )
    out = xr.Dataset(variables)
    if priors is not None:
        out = out.assign_coords(times=("times", np.array(TIMES), {"long_name": "times the frames"}))
    names = [str(d) for d in predicted.coords if str(d) in out.dims]
    about = {"shared_errors": "assumed" if likelihood is None else "of frames"}
    return out.assign_coords({d: predicted[d] for d in names}).assign_attrs(
        about, frames=int(batch.x.shape[1]), frames_independent=worth
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


def _is_path(program: Program, batch: Batch, u: np.ndarray) -> bool:
    """Whether the program's frames are ordered, a path through hidden states behind them."""
    if program.sites.state is None:
        return False
    given = {k: jnp.asarray(v[0], float) for k, v in batch.conditions.items()}
    prior = program.state_prior(jnp.asarray(u[0, 0]), jnp.asarray(batch.x[0], float), given)
    return isinstance(prior, MarkovPath)


class _Part(NamedTuple):
    """Of one member."""

    draws: np.ndarray  # (draw, *dims)
    data: np.ndarray  # this and the rest (*dims)
    data_se: np.ndarray
    z: np.ndarray
    weight: np.ndarray
    more: tuple[np.ndarray, np.ndarray] | None  # widths within and allowed, (times, *dims)


def _more(
    joint: Joint, u: np.ndarray, values: np.ndarray, prior: np.ndarray, noise: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """Widths of both intervals with ``TIMES`` the frames, relative to now."""
    now = predicted_width(joint)
    within, allowed = [], []
    for times in TIMES:
        ratio = variance_ratio(u, values, prior, times, noise)
        width = predicted_width(predicted_joint(joint, ratio, times))
        within.append(np.sqrt(ratio))
        allowed.append(np.divide(width, now, out=np.ones_like(now), where=now > 0.0))
    return np.stack(within), np.stack(allowed)


def _prior_precisions(program: Program, batch: Batch, u: np.ndarray) -> np.ndarray:
    """Curvature of the log prior at the draws' means, ``(member, u, u)``."""
    one = jax.jit(partial(prior_precision, program))
    rows = []
    for m, x in enumerate(batch.x):
        given = {k: jnp.asarray(v[m], float) for k, v in batch.conditions.items()}
        rows.append(np.asarray(one(jnp.asarray(u[:, m].mean(0)), jnp.asarray(x, float), given)))
    return np.stack(rows)


def _labelled(
    joint: Joint, predicted: np.ndarray, more: tuple[np.ndarray, np.ndarray] | None
) -> _Part:
    """Draws of the truth in the order of the prediction's."""
    found = truth(joint, len(predicted))
    order = np.argsort(np.argsort(predicted, 0, kind="stable"), 0)
    draws = np.take_along_axis(found.draws, order, 0)
    return _Part(draws, joint.data, np.sqrt(joint.data_variance), joint.z, found.weight, more)


class Disagreement(NamedTuple):
    """An observable that the model does not reproduce, and its worst value."""

    name: str
    where: dict[str, float]  # coordinates of the worst value
    z: float  # standard errors from the prediction to the data's average there
    model: float
    data: float
    off: int  # values more than two standard errors off
    of: int
    p: float  # probability under the model


def disagreements(group: xr.Dataset, predicted: xr.Dataset) -> list[Disagreement]:
    """Observables that the data contradict, for each the member of a sweep at which they do most.

    The chance that a right model is blamed for an observable is ``FAMILY``, over all members.
    """
    out = []
    for name in [
        str(n).removesuffix("_misfit") for n in group.data_vars if str(n).endswith("_misfit")
    ]:
        p, z = group[f"{name}_misfit"], group[f"{name}_z"]
        if not (p < FAMILY / p.size).any():
            continue
        worst = abs(z.where(p == p.min()))
        at = np.unravel_index(int(np.nanargmax(worst.values)), z.shape)
        where = {str(d): float(z[d].values[i]) for d, i in zip(z.dims, at, strict=True)}
        mean = predicted[name].mean(("chain", "draw")).transpose(*z.dims)
        here = {d: i for d, i in zip(z.dims, at, strict=True) if d in p.dims}
        member = z.isel(here)
        out.append(
            Disagreement(
                name,
                where,
                float(z.values[at]),
                float(mean.values[at]),
                float(group[f"{name}_data"].values[at]),
                int((np.abs(member) > 2.0).sum()),
                member.size,
                float(p.min()),
            )
        )
    return out


def disagreement_in_words(d: Disagreement) -> str:
    """A sentence on it."""
    at = ", ".join(f"{k}={v:g}" for k, v in d.where.items())
    many = f", and {d.off} of its {d.of} values are more than two apart" if d.of > 1 else ""
    return (
        f"the model does not reproduce the data's {d.name}{f' at {at}' if at else ''}: {d.model:.3g} against "
        f"{d.data:.3g}, {abs(d.z):.1f} standard errors apart{many} (p = {d.p:.1g}); its own interval is not to be "
        "believed there: take that of the group discrepancy."
    )
