"""Every look at a posterior together, as a method needs it: of chains, or of independent draws."""

from collections.abc import Sequence

import numpy as np

from bayescg.infer.fit import Table
from bayescg.infer.health import (
    Doubt,
    Health,
    Mixing,
    Posterior,
    attributes,
    divergences,
    mixing,
    unmixed,
)
from bayescg.infer.runaway import runaway

__all__ = ["of_chains", "of_draws"]


def of_chains(
    posterior: Posterior,
    lead: str,
    remedy: str,
    *,
    diverging: np.ndarray | None = None,
    target_accept: float = 0.0,
    more: Sequence[Doubt] = (),
) -> Health:
    """Chains, or independent runs: how they mix, whether they run away, and divergences of NUTS.

    :param lead: what is said of chains that have not mixed, up to "for"; ``remedy`` what to try then.
    :param diverging: ``(chain, draw, member)``, or ``(chain, draw)`` of members together; None: none can be.
    :param target_accept: of NUTS.
    :param more: doubts that the method has itself.
    """
    found = mixing(posterior.u)
    doubts = unmixed(posterior, found, lead, remedy)
    tables = found.tables()
    if diverging is not None:
        doubts += divergences(posterior, diverging, target_accept)
        members = ("member",) if diverging.ndim == 3 else ()
        tables["divergent"] = Table(
            members, diverging.mean((0, 1)), "fraction of transitions that diverged"
        )
    return _together(posterior, [*doubts, *more], tables, found)


def of_draws(posterior: Posterior, more: Sequence[Doubt] = ()) -> Health:
    """Independent draws, weighted before: whether they run away.

    :param more: doubts that the method has itself, as of its weights.
    """
    return _together(posterior, more, {}, None)


def _together(
    posterior: Posterior,
    doubts: Sequence[Doubt],
    tables: dict[str, Table],
    found: Mixing | None,
) -> Health:
    wild, scaled = runaway(posterior, found)
    doubts = (*wild, *doubts)  # what runs away is why the rest is wrong
    bad = np.zeros(posterior.u.shape[2], bool)
    for d in doubts:
        if d.kind != "weights":
            bad[list(d.members)] = True
    text = "standard deviation of the unconstrained coordinate over what is allowed"
    tables = tables | {"spread": Table(("member", "parameter"), scaled, text)}
    return Health(bad, doubts, tables, attributes(posterior, doubts, found))
