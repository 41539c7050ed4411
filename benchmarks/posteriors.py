"""Variational inference and sequential Monte Carlo against exact NUTS; models of the same data by elpd and evidence."""

from dataclasses import replace
import time
from typing import Any

import jax
import numpy as np

from bayescg import workflow
from bayescg.infer.fit import Fit
from bayescg.infer.nuts_run import NUTS, NUTSOptions
from bayescg.infer.smc_run import SMC, SMCOptions
from bayescg.infer.svi import GUIDES
from bayescg.infer.svi_run import SVI, SVIOptions
from bayescg.workflow import make_reference, make_system

FIELDS = (0.2, 1.0)
NORMAL = ("prior=normal", "prior_scale=1.0")
#: Models of the same 20 frames, as options of `ising`.
MODELS = {
    "ratio 8": ("ratio=8", *NORMAL),
    "ratio 16": ("ratio=16", *NORMAL),
    "ratio 8, pairs of neighbours": ("ratio=8", "L2=1", "L3=0", *NORMAL),
    "ratio 8, all pairs": ("ratio=8", "L3=0", *NORMAL),
    "ratio 8, normal(0, 10)": ("ratio=8", "prior=normal"),
    "ratio 8, horseshoe": ("ratio=8", "prior=horseshoe"),
}


def run() -> dict[str, Any]:
    """Every guide and path at ratio 8 under normal(0, 1): the worst coordinate against exact NUTS, and seconds."""
    return {f"mu={mu}": compare(mu) for mu in FIELDS}


def compare(mu: float, ratio: int = 8) -> dict[str, Any]:
    """Means and widths in units of the exact posterior's, worst coordinate each; ELBO and log evidence beside them."""
    data = make_reference("ising", [f"mu={mu}", "frames=20"], 0)
    system = make_system("ising", [f"ratio={ratio}", *NORMAL], data)
    key = jax.random.key(3)
    exact = NUTS(system, data, NUTSOptions(samples=2000)).run(key)
    whole = exact.draws.reshape(-1, exact.draws.shape[-1])
    out: dict[str, Any] = {"nuts": {"seconds": exact.seconds, "converged": exact.converged.all()}}
    for guide in GUIDES:
        options = replace(SVIOptions(), guide=guide)  # type: ignore[arg-type]
        fit = SVI(system, data, options).run(key)
        found = fit.groups["variational"]
        told = {"khat": float(found["khat"].values[0]), "elbo": fit.attrs["elbo"]}
        raw = replace(fit, draws=found["u"].values[None])
        out[f"svi, {guide}"] = _against(whole, raw) | told
        out[f"svi, {guide}, weighted"] = _against(whole, fit) | told
    for path in ("temperature", "data"):
        fit = SMC(system, data, replace(SMCOptions(), path=path)).run(key)  # type: ignore[arg-type]
        found = {k: v for k, v in fit.attrs.items() if k.startswith("log_evidence")}
        out[f"smc, {path}"] = _against(whole, fit) | found
    return out


def _against(whole: np.ndarray, fit: Fit) -> dict[str, Any]:
    draws = fit.draws.reshape(-1, fit.draws.shape[-1])
    sd = whole.std(0)
    width = draws.std(0) / sd
    return {
        "mean_off_by_sd": float(np.abs((draws.mean(0) - whole.mean(0)) / sd).max()),
        "narrowest": float(width.min()),
        "widest": float(width.max()),
        "seconds": fit.seconds,
        "converged": bool(fit.converged.all()),
    }


def choice(mu: float = 0.2) -> dict[str, Any]:
    """The models of :data:`MODELS` ranked, each fitted by SMC."""
    data = make_reference("ising", [f"mu={mu}", "frames=20"], 0)
    fits, seconds = {}, {}
    for name, options in MODELS.items():
        began = time.monotonic()
        fits[name] = workflow.fit("ising", data, method="smc", options=options)
        seconds[name] = time.monotonic() - began
    return {"seconds": seconds} | workflow.compare(fits).choice.summary()
