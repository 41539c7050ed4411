"""Every distribution of molecules by name: of the potentials' coordinates, and of two at a time."""

from collections.abc import Callable, Mapping
import math

import numpy as np

from bayescg.observables.joint import JointDistribution, Neighbours, neighbours_of
from bayescg.observables.known import Known
from bayescg.observables.liquid import LiquidObservable
from bayescg.observables.molecular import (
    AXES,
    BondedDistribution,
    TypedRadialDistribution,
    rdf_name,
)
from bayescg.potentials.classes import Members, PairClasses
from bayescg.space import Box

__all__ = ["common_lengths", "molecular_observables", "usual"]

Make = Callable[..., LiquidObservable]
#: Joint distributions that are measured unless told otherwise: each has hundreds of bins.
MOST = 6


def molecular_observables(
    classes: PairClasses, known: Mapping[tuple[str, str], Known], box: Box, cutoff: float
) -> dict[str, Make]:
    """Constructors of ``rdf_A_B``, ``bond_NAME``, ..., ``joint_bond_NAME_angle_NAME``, ... by name.

    :param classes: of the pairs of sites.
    :param known: the range of each coordinate, :func:`~bayescg.observables.known_of`.
    :param box: edges, angstrom.
    :param cutoff: default of the largest distance of RDFs, angstrom.
    """
    a, b, c = np.asarray(box, float).tolist()
    edges = (a, b, c)

    def radial(types: str) -> Make:
        def make(
            width: float = 0.1, max: float = cutoff, norm: str = "pairs"
        ) -> TypedRadialDistribution:
            return TypedRadialDistribution(width, max, norm, classes, types, box=edges)

        return make

    def bonded(kind: str, name: str, members: Members) -> Make:
        least = {"bond": 0.02, "angle": 2.0, "dihedral": 5.0}[kind]
        low, high = (0.0, 180.0) if kind == "angle" else (-180.0, 180.0)
        if kind == "bond":
            low, high = common_lengths(known)

        def make(width: float = least) -> BondedDistribution:
            return BondedDistribution(kind, name, members, width, low, high, box=edges)

        return make

    def joint(pair: Neighbours) -> Make:
        ranges = {"angle": _common_angles(known)}
        if pair.kinds[0] == "bond":
            ranges["bond"] = common_lengths(known)
        low, high = zip(*(ranges[k] for k in pair.kinds), strict=True)

        def of_bond(length: float = 0.04, width: float = 4.0) -> JointDistribution:
            return JointDistribution(pair, (length, width), low, high, box=edges)

        def of_angles(width: float = 4.0) -> JointDistribution:
            return JointDistribution(pair, (width, width), low, high, box=edges)

        return of_bond if pair.kinds[0] == "bond" else of_angles

    out: dict[str, Make] = {rdf_name(classes, n): radial(n) for n in classes.names}
    out |= {f"{k}_{n}": bonded(k, n, members) for (k, n), members in classes.members.items()}
    return out | {pair.name: joint(pair) for pair in neighbours_of(classes.topology)}


def usual(known: Mapping[str, Make]) -> list[str]:
    """What is measured unless told otherwise: all, but of joint distributions the most frequent.

    :param known: constructors by name, of :func:`molecular_observables`.
    """
    joint = [name for name in known if name.startswith("joint_")]
    return [name for name in known if name not in joint[MOST:]]


def common_lengths(known: Mapping[tuple[str, str], Known]) -> tuple[float, float]:
    """One range for the lengths of all bonds, so that they share an axis; angstrom.

    :param known: the range of each coordinate, by kind and name.
    """
    bonds = [s for (kind, _), s in known.items() if kind == "bond"]
    low, high = min(s.low for s in bonds), max(s.high for s in bonds)
    return max(0.0, math.floor(10.0 * low - 1.0) / 10.0), math.ceil(10.0 * high + 1.0) / 10.0


def _common_angles(known: Mapping[tuple[str, str], Known]) -> tuple[float, float]:
    """The same of angles, degrees."""
    angles = [s for (kind, _), s in known.items() if kind == "angle"]
    low, high = (f(getattr(s, end) for s in angles) for f, end in ((min, "low"), (max, "high")))
    low, high = low / AXES["angle"][2] - 5.0, high / AXES["angle"][2] + 5.0
    return max(0.0, 10.0 * math.floor(low / 10.0)), min(180.0, 10.0 * math.ceil(high / 10.0))
