"""Whether draws of a posterior can be trusted: what is wrong, in words, with the parameter's name and what to try.

One look for all methods that yield a posterior. Chains are held to R-hat and effective sample sizes, NUTS to its
divergences, weighted draws to their weights (:mod:`bayescg.infer.collapse`), and the draws of all to what no data
leave so wide (:mod:`bayescg.infer.runaway`). What is found stands in the result as text (``messages``), as records
(``doubts``), as names of parameters (``worst_r_hat_parameter``, ...), and by parameter in the group ``health``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.stats import rankdata

from bayescg.infer.fit import Table
from bayescg.infer.program import Program
from bayescg.infer.words import members_in_words
from bayescg.system import Batch, System

__all__ = [
    "GOOD_ESS",
    "GOOD_RHAT",
    "Doubt",
    "Health",
    "Mixing",
    "Posterior",
    "attributes",
    "divergences",
    "mixing",
    "names_of",
    "unmixed",
]

# As Vehtari et al., Bayesian Anal. 16, 667 (2021), ask for.
GOOD_RHAT = 1.01
GOOD_ESS = 100.0  # effective draws of a chain
MANY = 0.01  # fraction of divergent transitions from which on it is said where they crowd
CROWD = 0.1  # difference of mean ranks, 0 to 1, from which on draws crowd somewhere
SIGMAS = 4.0  # standard errors of that difference that it must be, too
ROW = 5  # draws between two divergences that are of one row
FEWEST = 5  # rows of divergences that tell where they crowd
SHOWN = 3  # names of parameters in a message


class Doubt(NamedTuple):
    """One thing that is wrong with a posterior."""

    kind: str  # "mixing", "divergences", "runaway", "weights"
    text: str
    parameters: tuple[str, ...]  # the worst first
    members: tuple[int, ...]


class Health(NamedTuple):
    """What a look at draws found."""

    bad: np.ndarray  # (member,), whose draws are not to be trusted
    doubts: tuple[Doubt, ...]
    tables: dict[str, Table]  # of the group ``health``
    attrs: dict[str, object]  # of the result

    @property
    def messages(self) -> list[str]:
        """What was found, in words."""
        return [d.text for d in self.doubts]


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws with what they are of.

    :param u: unconstrained parameters, ``(chain, draw, member, u)``.
    """

    system: System
    program: Program
    batch: Batch
    u: np.ndarray
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", names_of(self.program, self.system.features))

    @cached_property
    def shared(self) -> np.ndarray:
        """Coordinates with one value for all members, ``(u,)``."""
        out = np.zeros(self.program.size, bool)
        for site in self.program.shared:
            out[self.program.coordinates(site)] = True
        return out

    def name(self, member: int, parameter: int) -> str:
        """Of one coordinate, with its member where there are several."""
        name = self.names[parameter]
        if self.batch.dim is None or self.shared[parameter]:
            return name
        return f"{name} at {members_in_words(self.batch, np.array([member]))}"

    def values(self, u: np.ndarray) -> np.ndarray:
        """Parameters as the program has them, by coordinate of ``u (u,)``; those of a simplex as they are in u."""
        out = np.array(u, float)
        for site, value in self.program.constrain(jnp.asarray(u)).items():
            at = self.program.coordinates(site)
            if np.size(value) == len(at):
                out[at] = np.ravel(value)
        return out

    def tighter(self) -> str:
        """What to do about a prior, by the names of the system's own options."""
        known = [
            f"-s {k}"
            for k in self.system.options
            if k == "prior" or k.endswith(("_scale", "_spread"))
        ]
        return f"a tighter prior ({', '.join(known)})" if known else "a tighter prior"


def names_of(program: Program, features: Sequence[str]) -> tuple[str, ...]:
    """A name for each coordinate of u, ``theta_c[pair_1]`` where a site has one value a feature."""
    out = program.labels
    for site, shape in program.shapes.items():
        at = program.coordinates(site)
        if len(shape) == 1 and len(at) == len(features):
            for i, feature in zip(at, features, strict=True):
                out[i] = f"{site}[{feature}]"
    return tuple(out)


def listed(names: Sequence[str], most: int = SHOWN) -> str:
    """Names in words, the first of many."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([*([", ".join(names[:-1])] if names[:-1] else []), *names[-1:]])


class Mixing(NamedTuple):
    """Convergence of every parameter of every member, ``(member, u)``."""

    r_hat: np.ndarray
    ess_bulk: np.ndarray
    ess_tail: np.ndarray

    @property
    def ess(self) -> np.ndarray:
        """The smaller of the two."""
        return np.fmin(self.ess_bulk, self.ess_tail)

    def mixed(self, chains: int) -> np.ndarray:
        """Whether each is as it should be, ``(member, u)``; a parameter that did not move is not."""
        return (self.r_hat < GOOD_RHAT) & (self.ess >= GOOD_ESS * chains)

    def tables(self) -> dict[str, Table]:
        """Of the group ``health``."""
        text = {
            "r_hat": "rank-normalised split R-hat",
            "ess_bulk": "effective draws of the bulk",
            "ess_tail": "effective draws of the tails",
        }
        return {
            k: Table(("member", "parameter"), getattr(self, k), words) for k, words in text.items()
        }


def mixing(u: np.ndarray) -> Mixing:
    """Convergence of chains ``(chain, draw, member, u)``.

    Particles of common descent stand side by side, so that they count as the correlated draws that they are.
    """
    from bayescg.results import diagnostics, to_dataset

    found = diagnostics(to_dataset({"u": u}, dims={"u": ("member", "parameter")}))
    return Mixing(*(np.asarray(found[k]["u"]) for k in Mixing._fields))


def unmixed(posterior: Posterior, found: Mixing, lead: str, remedy: str) -> list[Doubt]:
    """What R-hat and effective sample sizes tell, by the parameters that are worst.

    :param lead: the message up to "for".
    :param remedy: what to try, after a semicolon.
    """
    chains = len(posterior.u)
    good = found.mixed(chains)
    at = np.flatnonzero(~good.all(1))
    if not at.size:
        return []
    r_hat = np.where(np.isnan(found.r_hat), np.inf, found.r_hat)[at]
    ess = np.where(np.isnan(found.ess), 0.0, found.ess)[at]
    said: list[str] = []
    worst: list[int] = []
    if not (r_hat < GOOD_RHAT).all():
        i, j = np.unravel_index(np.argmax(r_hat), r_hat.shape)
        worst.append(int(j))
        high = f"up to {r_hat[i, j]:.3f}" if np.isfinite(r_hat[i, j]) else "not defined"
        said.append(
            f"R-hat {high} ({posterior.name(int(at[i]), int(j))}; below {GOOD_RHAT:g} is right)"
        )
    if not (ess >= GOOD_ESS * chains).all():
        i, j = np.unravel_index(np.argmin(ess), ess.shape)
        worst.append(int(j))
        said.append(
            f"as few as {ess[i, j]:.0f} effective draws ({posterior.name(int(at[i]), int(j))}; of {chains} chains "
            f"{GOOD_ESS * chains:.0f} are asked for)"
        )
    # Worst first, then by the number of members in which they are bad.
    count = (~good).sum(0)
    rest = [int(j) for j in np.argsort(-count, kind="stable") if count[j] and j not in worst]
    names = tuple(dict.fromkeys(posterior.names[j] for j in [*worst, *rest]))
    many = (
        f"; {len(names)} of {len(posterior.names)} parameters have one or the other" if rest else ""
    )
    text = f"{lead} for {members_in_words(posterior.batch, at)}: {', '.join(said)}{many}; {remedy}."
    return [Doubt("mixing", text, names, tuple(map(int, at)))]


def divergences(posterior: Posterior, diverging: np.ndarray, target_accept: float) -> list[Doubt]:
    """What divergent transitions of NUTS tell: how many, and at which values of which parameter they crowd.

    :param diverging: ``(chain, draw, member)``, or ``(chain, draw)`` of members together.
    :param target_accept: that the run asked for.
    """
    together = diverging.ndim == 2
    share = np.atleast_1d(diverging.mean((0, 1)))
    at = np.flatnonzero(share > 0)
    if not at.size:
        return []
    members = np.arange(posterior.u.shape[2]) if together else at
    where = members_in_words(posterior.batch, members)
    worst = int(np.argmax(share))
    count, total = int(diverging.sum()), diverging.size if together else diverging[..., at].size
    text = f"{count} of {total} transitions diverged ({count / total:.2%}) for {where}"
    if len(at) > 1:
        text += f", most ({share[worst]:.1%}) at {members_in_words(posterior.batch, at[share[at].argmax()][None])}"
    looked = members if together else np.array([worst])
    crowd = _crowded(posterior, diverging if together else diverging[..., worst], looked)
    names: tuple[str, ...] = ()
    text += ": where they do, the posterior is not explored"
    if share[worst] > MANY and crowd is not None:
        member, j, side, there, others = crowd
        names = (posterior.names[j],)
        text += (
            f". They crowd at {side} {posterior.name(member, j)} (median {there:.3g}, {others:.3g} of the others); "
            f"raise -M target_accept (it is {target_accept:g}), use {posterior.tighter()}, or write the program so "
            f"that {posterior.names[j]} is drawn apart from what it scales."
        )
    else:
        text += f"; raise -M target_accept (it is {target_accept:g}), or use {posterior.tighter()}."
    return [Doubt("divergences", text, names, tuple(map(int, members)))]


def _crowded(
    posterior: Posterior, diverging: np.ndarray, members: np.ndarray
) -> tuple[int, int, str, float, float] | None:
    """Member and parameter whose divergent draws differ most from the others, on which side, and both medians.

    Measured on ranks within a chain, of the values and of their distances from the middle. A chain that is stuck
    diverges again and again at one place, so that divergences in a row count once.
    """
    mask = diverging.ravel()
    rows = _in_a_row(diverging)
    if mask.all() or rows.max() < FEWEST:
        return None
    best, found = max(CROWD, SIGMAS / np.sqrt(12.0 * rows.max())), None
    count = np.bincount(rows[mask])[1:]
    for m in members:
        for j in range(posterior.u.shape[-1]):
            if posterior.shared[j] and m != members[0]:
                continue
            rank = (rankdata(posterior.u[:, :, m, j], axis=1) - 0.5) / diverging.shape[1]
            by_row = (
                np.bincount(rows[mask], v.ravel()[mask])[1:] / count
                for v in (rank, np.abs(2.0 * rank - 1.0))
            )
            lower, outer = (float(np.mean(v) - 0.5) for v in by_row)
            for gap, side in (
                (-lower, "small values of"),
                (lower, "large values of"),
                (0.5 * outer, "both ends of"),  # a side tells more, where there is one
            ):
                if gap > best:
                    best, found = gap, (int(m), j, side)
    if found is None:
        return None
    m, j, side = found
    flat = posterior.u[:, :, m].reshape(mask.size, -1)
    there, others = (
        float(posterior.values(np.median(flat[chosen], 0))[j]) for chosen in (mask, ~mask)
    )
    return m, j, side, there, others


def _in_a_row(diverging: np.ndarray) -> np.ndarray:
    """Number of the row of divergences that each draw ``(chain * draw,)`` is of, from 1; 0 of the others."""
    out = np.zeros(diverging.shape, int)
    last = 0
    for chain, one in enumerate(diverging):
        before = -ROW - 1
        for t in np.flatnonzero(one):
            last += int(t - before > ROW)
            out[chain, t], before = last, int(t)
    return out.ravel()


def attributes(
    posterior: Posterior, doubts: Sequence[Doubt], found: Mixing | None = None
) -> dict[str, object]:
    """Root attributes of a result, from which a program can read what is wrong."""
    out: dict[str, object] = {"doubts": [d._asdict() for d in doubts]}
    for kind, name in (("runaway", "runaway_parameters"), ("divergences", "divergent_parameters")):
        those = [p for d in doubts if d.kind == kind for p in d.parameters]
        if those:
            out[name] = list(dict.fromkeys(those))
    if found is not None:
        r_hat = np.where(np.isnan(found.r_hat), np.inf, found.r_hat)
        ess = np.where(np.isnan(found.ess), 0.0, found.ess)
        high = np.unravel_index(np.argmax(r_hat), r_hat.shape)
        low = np.unravel_index(np.argmin(ess), ess.shape)
        out |= {
            "r_hat": float(found.r_hat.max()),
            "worst_r_hat_parameter": posterior.name(int(high[0]), int(high[1])),
            "ess": float(ess[low]),
            "worst_ess_parameter": posterior.name(int(low[0]), int(low[1])),
        }
    return out
