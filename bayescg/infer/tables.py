"""Choosing between Laplace forms, and the tables that MC-EM leaves in a result."""

import jax
import jax.numpy as jnp
import numpy as np

from bayescg.infer.fit import Table
from bayescg.infer.laplace import FORMS, Laplace, Weighted
from bayescg.infer.mcem import MCEMResult
from bayescg.infer.prior import expected_precisions

__all__ = [
    "Form",
    "choose",
    "held",
    "laplace_group",
    "log_weights",
    "map_group",
    "quality",
    "stats_group",
    "trace_group",
]

#: The approximation, its weighted draws where weights exist, and its raw draws.
Form = tuple[Laplace, Weighted | None, np.ndarray]


def quality(form: Form, member: int) -> tuple[float, float]:
    """k-hat of one member's weights and the effective number of draws; NaN where there are none."""
    if form[1] is None:
        return float("nan"), float("nan")
    return float(form[1].khat[member]), float(form[1].effective[member])


def log_weights(form: Form, member: int) -> np.ndarray:
    """Smoothed log weights of one member's draws, ``-inf`` where there are none."""
    return (
        np.full(len(form[2][member]), -np.inf) if form[1] is None else form[1].log_weights[member]
    )


def held(form: Form, member: int) -> np.ndarray:
    """Equally weighted draws of one member."""
    return form[2][member] if form[1] is None else form[1].resampled[member]


def stats_group(forms: dict[str, Form], chosen: list[str]) -> dict[str, Table]:
    """What is known of each draw in `posterior`, where draws are weighted."""
    rows = []
    for m, f in enumerate(chosen):
        weighted = forms[f][1]
        if weighted is None:
            return {}
        rows.append(weighted.lp[m])
    text = "log posterior density of the unconstrained parameters, up to a constant"
    return {"lp": Table(("chain", "draw", "member"), np.stack(rows, 1)[None], text)}


def choose(forms: dict[str, Form], wanted: str) -> tuple[list[str], str]:
    """The form that `posterior` holds, member by member, and what to call the choice."""
    members = len(forms["complete"][0].mean)
    if wanted != "auto":
        return [wanted] * members, wanted
    if forms["complete"][1] is None:
        usable = {f: np.asarray(forms[f][0].definite) for f in FORMS}
        poor = usable["observed"] & ~usable["complete"]
        best = ["observed" if p else "complete" for p in poor]
        mixed = "complete, observed where that is indefinite"
        return best, best[0] if len(set(best)) == 1 else mixed
    best = []
    for m in range(members):
        khats = [quality(forms[f], m)[0] for f in FORMS]
        best.append(FORMS[int(np.argmin(khats))])
    return best, best[0] if len(set(best)) == 1 else "lower k-hat of complete and observed"


def laplace_group(normal: Laplace, weighted: Weighted | None, raw: np.ndarray) -> dict[str, Table]:
    """Variables of the result's group ``laplace``, or of that of another form.

    :param normal: the normal approximation.
    :param weighted: importance weights of its draws, if there are any.
    :param raw: draws before weighting, unconstrained, ``(member, draw, u)``.
    """
    out = {
        "u": Table(
            ("draw", "member", "parameter"), np.swapaxes(raw, 0, 1), "raw draws, unconstrained"
        ),
        "precision": Table(
            ("member", "parameter", "parameter_2"),
            normal.precision,
            f"precision matrix, {normal.form} form",
        ),
        "smallest_eigenvalue": Table(
            ("member",), normal.smallest, "smallest eigenvalue of the precision"
        ),
    }
    if weighted is not None:
        out["log_weight"] = Table(
            ("draw", "member"), weighted.log_weights.T, "smoothed log importance weight"
        )
        out["log_weight_error"] = Table(
            ("draw", "member"), weighted.error.T, "its Monte Carlo standard error, before smoothing"
        )
        out["khat"] = Table(("member",), weighted.khat, "Pareto k-hat of the weights")
        out["effective_draws"] = Table(
            ("member",), weighted.effective, "effective number of weighted draws"
        )
    return out


def map_group(
    result: MCEMResult, prior_used: np.ndarray, forms: list[str], khat: np.ndarray
) -> dict[str, Table]:
    """The mode of every member, and how it was found.

    :param forms: the Laplace form that stands in `posterior`; none for a point method.
    """
    tau = np.asarray(
        jax.vmap(lambda u: expected_precisions(result.program, u))(jnp.asarray(result.u))
    )
    out = {
        "u": Table(("member", "parameter"), result.u, "MAP, unconstrained"),
        "converged": Table(
            ("member",), result.converged.astype(np.int8), "whether the stopping rule was met"
        ),
        "ended": Table(("member",), result.ended.astype(str), "how the search ended"),
        "distance": Table(
            ("member", "parameter"), result.distance, "last Newton step, in posterior sd"
        ),
        "noise": Table(
            ("member", "parameter"), result.noise, "Monte Carlo error of that step, in posterior sd"
        ),
        "prior_used": Table(("member",), prior_used.astype(str), "prior of the coefficients"),
    }
    if forms:
        out["form"] = Table(("member",), np.array(forms, str), "Laplace form in posterior")
        out["khat"] = Table(("member",), khat, "Pareto k-hat of the weights in posterior")
    if result.program.ard:
        out["tau_u"] = Table(
            ("member", "parameter"),
            tau,
            "expected ARD precision (Eq. 42), unconstrained coordinates",
        )
    return out


def trace_group(result: MCEMResult, length: str = "1") -> dict[str, Table]:
    """How a search went; ``length`` is the unit of configurations."""
    t = result.trace
    return {
        "u": Table(("iteration", "member", "parameter"), t["u"], "parameters, unconstrained"),
        "distance": Table(
            ("iteration", "member"), t["distance"], "largest Newton step, in posterior sd"
        ),
        "noise": Table(
            ("iteration", "member"), t["noise"], "its Monte Carlo error, in posterior sd"
        ),
        "gain": Table(
            ("iteration", "member"), t["gain"], "log posterior that a full Newton step would gain"
        ),
        "sweeps": Table(("iteration",), t["sweeps"], "sweeps of each chain"),
        "latent_change": Table(
            ("iteration", "member"),
            t["latent_change"],
            "latent spins changed by a sweep, or acceptance of moves of latent sites",
        ),
        "latent_gap": Table(
            ("iteration", "member"),
            t["latent_gap"],
            "mean square of x - X under q_i",
            length if length == "1" else f"{length}^2",
        ),
        "failed": Table(
            ("iteration", "member"),
            t["failed"],
            "moves that blew up and were taken back, and samples of p_c that were left out",
        ),
    }
