"""Weights that collapse: few of many draws hold all of the weight, so that the posterior is theirs alone."""

from collections.abc import Sequence

import numpy as np

from bayescg.infer.health import Doubt, Posterior
from bayescg.infer.resampling import BAD_KHAT, FEW_DRAWS
from bayescg.infer.words import members_in_words

__all__ = ["few_particles", "moved_most", "unreliable"]

COLLAPSED = 0.25  # effective fraction below which few particles are said to have collapsed


def unreliable(
    posterior: Posterior,
    raw: np.ndarray,
    log_weights: np.ndarray,
    khat: np.ndarray,
    effective: np.ndarray,
    lead: str,
    remedy: str,
) -> list[Doubt]:
    """What k-hat and the effective number of weighted draws tell, with the parameter that weights change most.

    :param raw: draws before they are weighted, ``(draw, member, u)``.
    :param log_weights: theirs, smoothed and normalised, ``(draw, member)``.
    :param khat: ``(member,)``; ``effective`` number of draws too. NaN: these draws have no weights.
    :param lead: the message up to "for"; ``remedy`` is what to use instead.
    """
    weighted = ~np.isnan(khat)
    at = np.flatnonzero(weighted & (~(khat <= BAD_KHAT) | (effective < FEW_DRAWS)))
    if not at.size:
        return []
    worst = int(at[np.argmax(khat[at])])
    change = moved_most(raw[:, worst], log_weights[:, worst])
    names: tuple[str, ...] = ()
    most = ""
    if change is not None:
        j, shift = change
        names = (posterior.names[j],)
        most = f"; they move the mean of {posterior.name(worst, j)} by {shift:.2g} sd"
    text = (
        f"{lead} for {members_in_words(posterior.batch, at)} (k-hat up to {khat[at].max():.2f}, reliable below "
        f"{BAD_KHAT}; as few as {effective[at].min():.0f} effective draws{most}): intervals there are rough; use "
        f"{remedy}."
    )
    return [Doubt("weights", text, names, tuple(map(int, at)))]


def moved_most(raw: np.ndarray, log_weights: np.ndarray) -> tuple[int, float] | None:
    """Coordinate whose mean weights move most, and by how many of its standard deviations; None where they move none.

    :param raw: ``(draw, u)``.
    """
    known = np.isfinite(log_weights) & np.isfinite(raw).all(1)
    if known.sum() < 2:
        return None
    w = np.exp(log_weights - log_weights[known].max()) * known
    every = raw[np.isfinite(raw).all(1)]
    sd = every.std(0)
    shift = np.abs(w[known] @ raw[known] / w[known].sum() - every.mean(0))
    shift = np.divide(shift, sd, out=np.zeros_like(sd), where=sd > 0.0)
    j = int(np.argmax(shift))
    return (j, float(shift[j])) if shift[j] > 0.0 else None


def few_particles(
    posterior: Posterior, effective: Sequence[np.ndarray], particles: int
) -> list[Doubt]:
    """What stages of SMC tell whose weights leave few particles.

    :param effective: of each member, fractions of the particles that are effective before they are drawn anew.
    """
    least = np.array([np.nanmin(e) * particles for e in effective])
    fewest = min(float(FEW_DRAWS), COLLAPSED * particles)
    at = np.flatnonzero(~(least >= fewest))
    if not at.size:
        return []
    text = (
        f"weights of particles collapse for {members_in_words(posterior.batch, at)}: at a stage as few as "
        f"{least[at].min():.0f} of {particles} are effective ({fewest:.0f} are asked for); raise -M particles or ess."
    )
    return [Doubt("weights", text, (), tuple(map(int, at)))]
