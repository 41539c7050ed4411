"""Do intervals hold what they say? Replicated data sets of the Ising lattice, and rank statistics from the prior.

``python -m benchmarks coverage`` and ``python -m benchmarks ranks``; the settings are ``STUDIES`` and environment
variables: ``BAYESCG_REPLICATIONS``, ``BAYESCG_STUDIES`` (a part of a name), ``BAYESCG_WARMUP`` and ``BAYESCG_SAMPLES``.
On an accelerator all replications of a study run at once.
"""

from collections.abc import Mapping, Sequence
from functools import partial
import json
import os
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import chi2
from scipy.stats import t as student
import xarray as xr

from bayescg.infer.laplace import FORMS
from bayescg.infer.run import mcem
from bayescg.predict.discrepancy import joint_errors, truth
from bayescg.predict.shrinkage import (
    predicted_joint,
    predicted_width,
    prior_precision,
    variance_ratio,
)
from benchmarks.replicates import Posteriors, from_prior, from_truth, posteriors, study

__all__ = ["coverage", "laplace", "more_frames", "ranks"]

FRAMES = 20
SHOWN = 16  # largest separation
LEVELS = (0.5, 0.8, 0.9, 0.95)
BINS = 16


class Setting(NamedTuple):
    """A coarse model, whose replications at all of ``FIELDS`` are sampled together."""

    sites: int
    ratio: int
    words: tuple[str, ...] = ()  # options of the model


SHORT = ("L2=2", "L3=1")  # interactions that a small transfer matrix holds
#: log Z is exact in all of them. At ratios 4 and 2 the coarse models are of short range, so that hundreds of posteriors
#: take half an hour on two cores.
STUDIES: Mapping[str, Setting] = {
    "ratio=8": Setting(64, 8),
    "ratio=4 short": Setting(64, 4, SHORT),
    "ratio=2 short": Setting(64, 2, SHORT),
}
FIELDS = (0.0, 0.5, 1.0, 2.0)
RANKED = 0.5  # the field of the rank statistics


def _chosen(known: Sequence[str]) -> list[str]:
    named = os.environ.get("BAYESCG_STUDIES", "")
    return [k for k in known if named in k]


def _replications(default: int) -> int:
    return int(os.environ.get("BAYESCG_REPLICATIONS", default))


def _sampling() -> dict[str, int]:
    """Length of the chains (shorter ones are for trying it out), and on a processor how few move in step."""
    named = (("warmup", "BAYESCG_WARMUP"), ("samples", "BAYESCG_SAMPLES"))
    out = {k: int(os.environ[e]) for k, e in named if e in os.environ}
    return out | ({"together": 8} if jax.default_backend() == "cpu" else {})


def coverage() -> dict[str, Any]:
    """Share of replications whose intervals hold the exact value, of m and R(1), ..., R(16)."""
    out: dict[str, Any] = {"device": jax.devices()[0].device_kind}
    for name in _chosen(tuple(STUDIES)):
        began = time.monotonic()
        which = study(*STUDIES[name], FRAMES)
        count = _replications(400)
        keys = jax.random.split(jax.random.key(7), 1 + len(FIELDS))
        made = [
            from_truth(which, mu, k, count, FRAMES) for mu, k in zip(FIELDS, keys[1:], strict=True)
        ]
        x = jnp.concatenate([data for data, _ in made])
        found = posteriors(which, x, jnp.repeat(jnp.asarray(FIELDS), count), keys[0], **_sampling())
        out[name] = {"seconds": time.monotonic() - began}
        for i, (mu, (data, exact)) in enumerate(zip(FIELDS, made, strict=True)):
            at = slice(i * count, (i + 1) * count)
            part = Posteriors(*(v[at] for v in found[:-1]), found.steps)
            out[name][f"mu={mu:g}"] = _held(np.asarray(data), exact, part) | _mixing(part)
        print(json.dumps({name: out[name]}), flush=True)
    return out


def _of_frames(x: np.ndarray) -> np.ndarray:
    """m and R(k) of every frame, ``(..., frame, 1 + separation)``."""
    separations = range(1, x.shape[-1] // 2 + 1)
    pairs = [np.mean(x * np.roll(x, -k, -1), -1) for k in separations]
    return np.stack([x.mean(-1), *pairs], -1)


def _held(x: np.ndarray, exact: np.ndarray, found: Posteriors) -> dict[str, Any]:
    """Coverage and mean width of the three intervals, ``{kind: {level: ...}}``."""
    keep = slice(0, 1 + SHOWN)
    exact, frames = exact[keep], _of_frames(x)[..., keep]
    count = len(x)
    draws = found.observables[..., keep].reshape(count, -1, SHOWN + 1)
    likelihood = found.log_likelihood.reshape(count, draws.shape[1], -1)
    mean, n = frames.mean(1), frames.shape[1]
    error = frames.std(1, ddof=1) / np.sqrt(n)
    allowed = np.stack(
        [
            truth(joint_errors(*given), 200).draws
            for given in zip(draws, frames, likelihood, strict=True)
        ]
    )
    out: dict[str, Any] = {}
    for level in LEVELS:
        ends = [0.5 - 0.5 * level, 0.5 + 0.5 * level]
        half = student.ppf(ends[1], n - 1) * error
        bounds = {
            "within": np.quantile(draws, ends, axis=1),
            "allowed": np.quantile(allowed, ends, axis=1),
            "data": (mean - half, mean + half),
        }
        for kind, (low, high) in bounds.items():
            inside = (low <= exact) & (exact <= high)
            row: dict[str, Any] = {
                "m": float(inside[:, 0].mean()),
                "R": inside[:, 1:].mean(0).tolist(),
            }
            row["width_m"] = float((high - low)[:, 0].mean())
            row["width_R"] = (high - low)[:, 1:].mean(0).tolist()
            out.setdefault(kind, {})[f"{level:g}"] = row
    return out


def _mixing(found: Posteriors) -> dict[str, Any]:
    """R-hat of split chains over parameters and replications, and divergences."""
    u = found.u
    half = u.shape[2] // 2
    parts = np.concatenate([u[:, :, :half], u[:, :, half : 2 * half]], 1)
    within = parts.var(2, ddof=1).mean(1)
    between = parts.mean(2).var(1, ddof=1)
    rhat = np.sqrt((half - 1) / half + between / within)
    return {
        "rhat_median": float(np.median(rhat.max(1))),
        "rhat_99": float(np.quantile(rhat.max(1), 0.99)),
        "divergent": float(found.divergences.mean() / (u.shape[1] * u.shape[2])),
        "steps": found.steps,
    }


def ranks() -> dict[str, Any]:
    """Ranks of prior draws among posterior ones: simulation-based calibration (Talts et al., arXiv:1804.06788)."""
    out: dict[str, Any] = {"device": jax.devices()[0].device_kind}
    for name in _chosen(tuple(STUDIES)):
        began = time.monotonic()
        which = study(*STUDIES[name], FRAMES)
        keys = jax.random.split(jax.random.key(8))
        count = _replications(400)
        u, x = from_prior(which, RANKED, keys[0], count, FRAMES)
        found = posteriors(which, x, jnp.full(count, RANKED), keys[1], **_sampling())
        draws = found.u.reshape(len(u), -1, u.shape[1])
        # As many draws as bins need, far apart: what is left of their correlation is small.
        at = np.linspace(0, draws.shape[1] - 1, 4 * BINS - 1).round().astype(int)
        rank = (draws[:, at] < np.asarray(u)[:, None]).sum(1)  # 0 .. 63
        out[name] = uniformity(rank, which.program.labels) | _mixing(found)
        out[name]["seconds"] = time.monotonic() - began
        print(json.dumps({name: out[name]}), flush=True)
    return out


def laplace() -> dict[str, Any]:
    """The same of MC-EM and Laplace: each form's normal, and the weighted draws that a result holds.

    All replications are members of one sweep. Coverage is that of 90 % intervals of the parameters.
    """
    out: dict[str, Any] = {}
    for name in _chosen(("ratio=8", "ratio=4 short")):
        which = study(*STUDIES[name], FRAMES)
        keys = jax.random.split(jax.random.key(8))  # the data sets of `ranks`
        u, x = from_prior(which, RANKED, keys[0], _replications(200), FRAMES)
        data = xr.Dataset(
            {"x": (("mu", "frame", "site"), np.asarray(x, np.int8))},
            coords={"mu": RANKED + 1e-9 * np.arange(len(u))},  # fields of a sweep have to differ
            attrs={"beta": which.system.options["beta"]},
        )
        fit = mcem(which.system, data).run(keys[1])
        truth_u = np.asarray(u)
        drawn = {
            form: np.swapaxes(fit.groups[f"laplace_{form}"]["u"].values, 0, 1) for form in FORMS
        }
        drawn["weighted"] = np.moveaxis(fit.draws[0], 0, 1)  # (member, draw, u)
        out[name] = {
            "seconds": fit.seconds,
            "converged": float(fit.converged.mean()),
            "khat_above_0.7": float(np.mean(fit.groups["map"]["khat"].values > 0.7)),
        }
        for form, draws in drawn.items():
            usable = np.isfinite(draws).all((1, 2))
            below = (draws[usable] < truth_u[usable, None]).mean(1)
            rank = np.minimum((below * 4 * BINS).astype(int), 4 * BINS - 1)
            ends = np.quantile(draws[usable], [0.05, 0.95], axis=1)
            inside = (ends[0] <= truth_u[usable]) & (truth_u[usable] <= ends[1])
            out[name][form] = uniformity(rank, which.program.labels) | {
                "usable": float(usable.mean()),
                "coverage_90": dict(
                    zip(which.program.labels, inside.mean(0).tolist(), strict=True)
                ),
            }
        print(json.dumps({name: out[name]}), flush=True)
    return out


def more_frames() -> dict[str, Any]:
    """Widths with four times the frames: predicted from the first, and found by fitting to all of them."""
    name, times = "ratio=8", 4
    which = study(*STUDIES[name], FRAMES)
    count = _replications(40)
    keys = jax.random.split(jax.random.key(9), 2 + len(FIELDS))
    mu = jnp.repeat(jnp.asarray(FIELDS), count)
    made = [
        from_truth(which, v, k, count, times * FRAMES)
        for v, k in zip(FIELDS, keys[2:], strict=True)
    ]
    x = jnp.concatenate([data for data, _ in made])
    few = posteriors(which, x[:, :FRAMES], mu, keys[0], **_sampling())
    many = posteriors(which, x, mu, keys[1], **_sampling())
    curvature = jax.jit(partial(prior_precision, which.program))
    keep = slice(0, 1 + SHOWN)
    rows: dict[str, list[np.ndarray]] = {k: [] for k in ("predicted", "found")}
    allowed: dict[str, list[np.ndarray]] = {k: [] for k in ("predicted", "found")}
    for i in range(len(x)):
        data = [_of_frames(np.asarray(v))[..., keep] for v in (x[i, :FRAMES], x[i])]
        draws = [f.observables[i, ..., keep].reshape(-1, 1 + SHOWN) for f in (few, many)]
        likelihoods = [
            f.log_likelihood[i].reshape(len(d), -1) for f, d in zip((few, many), draws, strict=True)
        ]
        now, then = (joint_errors(*v) for v in zip(draws, data, likelihoods, strict=True))
        u = few.u[i].reshape(-1, few.u.shape[-1])
        prior = np.asarray(curvature(jnp.asarray(u.mean(0)), x[i, :FRAMES], {"mu": mu[i]}))
        ratio = variance_ratio(u, draws[0], prior, times)
        rows["predicted"].append(np.sqrt(ratio))
        rows["found"].append(np.sqrt(draws[1].var(0) / draws[0].var(0)))
        width = predicted_width(now)
        allowed["predicted"].append(predicted_width(predicted_joint(now, ratio, times)) / width)
        allowed["found"].append(predicted_width(then) / width)
    out: dict[str, Any] = {}
    for j, v in enumerate(FIELDS):
        at = slice(j * count, (j + 1) * count)
        out[f"mu={v:g}"] = {
            kind: {
                k: {
                    "m": float(np.mean([r[0] for r in found[k][at]])),
                    "R": float(np.mean([r[1:] for r in found[k][at]])),
                }
                for k in found
            }
            for kind, found in (("within", rows), ("allowed", allowed))
        }
    print(json.dumps(out), flush=True)
    return {name: out}


def uniformity(rank: np.ndarray, labels: list[str]) -> dict[str, Any]:
    """Chi-square of each parameter's ranks ``(replication, parameter)`` in bins, and the family-wise p-value."""
    count = rank.shape[0]
    histogram = np.stack([np.bincount(r * BINS // (4 * BINS), minlength=BINS) for r in rank.T])
    expected = count / BINS
    statistic = np.sum((histogram - expected) ** 2 / expected, 1)
    p = chi2.sf(statistic, BINS - 1)
    return {
        "p": dict(zip(labels, p.tolist(), strict=True)),
        "family_wise": float(min(1.0, len(p) * p.min())),
        "histogram": dict(zip(labels, histogram.tolist(), strict=True)),
    }
