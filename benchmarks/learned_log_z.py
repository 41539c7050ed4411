"""NUTS with log Z learned, and the exchange algorithm, against exact NUTS, at 8 and 16 coarse spins.

Every posterior mean and standard deviation, in Monte Carlo standard errors of the difference. What the error of a
learned log Z does to a mean is among them, as the run itself says it. ``BAYESCG_CASES`` names cases.
"""

from dataclasses import replace
import os
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from bayescg import results
from bayescg.infer.alternating import Alternating, Options
from bayescg.infer.begin import program_of
from bayescg.infer.exchange import Exchange
from bayescg.infer.nuts_run import NUTS, NUTSOptions
from bayescg.system import System
from models import ising

#: Options of the lattice, its field, draws of each chain of exact NUTS, of learned log Z, and of exchange.
CASES = {
    "8": (ising.Options(n_f=16, ratio=2, L2=2, L3=1), "0.3", 1000, 4000, 16000),
    "16": (ising.Options(n_f=32, ratio=2, L2=2, L3=1), "0.3", 1000, 4000, 16000),
}
FAMILY = 0.01  # chance that any of all means and standard deviations fails though all agree
CHAINS, ADAPTING = 32, 800  # of exchange, and turns in which its proposals adapt
SWEEPS = 100  # in which its auxiliary configurations are cooled


def run() -> dict[str, Any]:
    """All cases, and the largest difference that the family of all comparisons may have."""
    chosen = os.environ.get("BAYESCG_CASES", "").split(";")
    cases = {k: v for k, v in CASES.items() if k in chosen or chosen == [""]}
    out = {name: compare(*case) for name, case in cases.items()}
    count = sum(c["parameters"] for c in out.values()) * 4  # means and spreads, of two methods
    limit = float(norm.isf(FAMILY / 2.0 / count))
    worst = max(
        c[how][what]
        for c in out.values()
        for how in ("learned", "exchange")
        for what in ("mean", "sd")
    )
    return {"worst": worst, "limit": limit, "passed": worst < limit, **out}


def compare(
    options: ising.Options, mu: str, samples: int, learned: int, turns: int
) -> dict[str, Any]:
    """One data set of 20 frames; the largest |z| of means and of standard deviations of each method.

    :param samples: of each chain of exact NUTS, and ``learned`` where log Z is.
    :param turns: of each chain of exchange.
    """
    ours = ising.system(replace(options, prior="normal", prior_scale=1.0))
    data = ising.reference(replace(options, mu=mu, frames=20), jax.random.key(1))
    out: dict[str, Any] = {}
    moments = {}
    for how, draws in (("learned", learned), ("exact", samples)):
        chosen = NUTSOptions(log_partition=how, warmup=500, samples=draws)  # type: ignore[arg-type]
        fit = NUTS(ours, data, chosen).run(jax.random.key(0))
        shift = float(fit.attrs.get("log_partition_shift", 0.0))  # type: ignore[arg-type]
        moments[how] = _moments(fit.draws[:, :, 0], shift)
        print(how, f"{fit.seconds:.0f} s", file=sys.stderr, flush=True)
        out[how] = _told(fit.draws[:, :, 0]) | {
            "seconds": fit.seconds,
            "divergences": int(fit.groups["sample_stats"]["diverging"].values.sum()),
            **{k: v for k, v in fit.attrs.items() if k.startswith("log_partition")},
        }
    began = time.perf_counter()
    kept, accepted = _exchanged(ours, data, turns)
    moments["exchange"] = _moments(kept)
    out["exchange"] = _told(kept) | {"seconds": time.perf_counter() - began, "accepted": accepted}
    for how in ("learned", "exchange"):
        for what in ("mean", "sd"):
            one, other = moments[how][what], moments["exact"][what]
            z = (one[0] - other[0]) / np.hypot(one[1], other[1])
            out[how][what] = float(np.abs(z).max())
    return {"parameters": kept.shape[2], **out}


def _exchanged(ours: System, data: Any, turns: int) -> tuple[np.ndarray, float]:
    batch = ours.batch(data)
    program = program_of(ours, batch)
    given = {k: jnp.asarray(v[0], float) for k, v in batch.conditions.items()}
    moving = Alternating(program, ours.sampler, jnp.asarray(batch.x[0], float), given, Options())
    sampler = Exchange(moving, ours.sampler, sweeps=SWEEPS)
    start = 0.3 * jax.random.normal(jax.random.key(0), (CHAINS, program.size))
    state = sampler.start(jax.random.key(1), start)
    _, draws, rates = sampler.run(jax.random.key(2), state, turns, warmup=ADAPTING)
    return draws, float(rates.mean())


def _told(draws: np.ndarray) -> dict[str, float]:
    found = results.diagnostics(_labelled(draws))
    return {
        "r_hat": float(found["r_hat"]["u"].max()),
        "ess_bulk": float(found["ess_bulk"]["u"].min()),
        "ess_tail": float(found["ess_tail"]["u"].min()),
    }


def _labelled(draws: np.ndarray) -> Any:
    return results.to_dataset({"u": draws}, dims={"u": ("parameter",)})


def _moments(draws: np.ndarray, shift: float = 0.0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Means and standard deviations of draws ``(chain, draw, u)``, each with its standard error.

    :param shift: standard error of a mean by log Z, in standard deviations.
    """
    mean, sd = draws.mean((0, 1)), draws.std((0, 1))
    square = (draws - mean) ** 2
    ess, ess_square = (
        np.asarray(results.diagnostics(_labelled(d))["ess_bulk"]["u"]) for d in (draws, square)
    )
    error = sd * np.sqrt(1.0 / ess + shift**2)
    # The standard deviation's error from its square's, by the delta method.
    return {
        "mean": (mean, error),
        "sd": (sd, square.std((0, 1)) / np.sqrt(ess_square) / (2.0 * sd)),
    }
