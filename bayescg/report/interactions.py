"""The potentials of molecules as the report knows them: kind, name, variables, what their data show."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

import numpy as np
import xarray as xr

from bayescg import results
from bayescg.io import data_of
from bayescg.observables import neighbours_of
from bayescg.observables.by_name import MOST
from bayescg.topology import topology_of
from bayescg.workflow import observe

__all__ = ["DIMS", "UNITS", "Interaction", "fitted", "interactions"]

#: The coordinate of each kind: its dimension in files, and its unit for people.
DIMS = {"pair": "r", "bond": "length", "angle": "angle", "dihedral": "dihedral"}
UNITS = {"pair": " Å", "bond": " Å", "angle": "°", "dihedral": "°"}
#: Options that hold the width of a table's points, which are the bins that a fit looks at.
WIDTHS = {
    "pair": "width",
    "bond": "bond_width",
    "angle": "angle_width",
    "dihedral": "dihedral_width",
}
#: Most distances between pairs of sites that are measured for a report, a second or two of work.
WORK = 2e8


@dataclass(frozen=True)
class Interaction:
    """One potential.

    :param name: ``A_B`` of a pair of bead types, else the name of the bonded terms.
    :param potential: the variable that holds it.
    :param distribution: the variable that holds the distribution of its coordinate.
    """

    kind: str
    name: str
    potential: str
    distribution: str

    @property
    def label(self) -> str:
        """Kind and name as a title: ``pair A–B``."""
        return f"{self.kind} {self.name.replace('_', '–') if self.kind == 'pair' else self.name}"

    @property
    def feature(self) -> str:
        """What names of its coefficients begin with."""
        return f"{self.kind} {self.name}: "

    @property
    def dim(self) -> str:
        """The axis of its variables: ``r``, ``length``, ``angle`` or ``dihedral``."""
        return DIMS[self.kind]

    def place(self, text: str) -> str:
        """A value of the coordinate, or several, with the unit."""
        return f"{text}{UNITS[self.kind]}"


def interactions(constants: xr.Dataset) -> tuple[Interaction, ...]:
    """Those that a result's ``constant_data`` name, pairs first."""
    if "interaction_name" not in constants:
        return ()
    names = [str(v).split(" ", 1) for v in np.ravel(constants["interaction_name"].values)]
    pairs = [n for kind, n in names if kind == "pair"]
    types = np.ravel(constants["site_type"].values) if "site_type" in constants else np.zeros(0)
    alike = len(set(map(str, types))) <= 1
    out = []
    for kind, name in names:
        if kind == "pair":
            u = "pair_potential" if len(pairs) == 1 else f"pair_potential_{name}"
            out.append(Interaction(kind, name, u, "rdf" if alike else f"rdf_{name}"))
        else:
            out.append(Interaction(kind, name, f"{kind}_potential_{name}", f"{kind}_{name}"))
    return tuple(sorted(out, key=lambda i: i.kind != "pair"))


def fitted(idata: Any, options: Mapping[str, Any]) -> xr.Dataset | None:
    """Distributions of the frames that a result of molecules was fitted to, with standard errors.

    Bins are as wide as the points of tables. Of many sites not all frames are measured, but evenly
    spaced ones: errors are then those of fewer.
    """
    if not all(results.has_group(idata, g) for g in ("observed_data", "constant_data")):
        return None
    observed, constants = (results.group(idata, g) for g in ("observed_data", "constant_data"))
    if "x" not in observed or observed.sizes["frame"] < 2 or "box" not in constants:
        return None
    frames, sites = observed.sizes["frame"], observed.sizes["site"]
    step = max(1, int(np.ceil(0.5 * frames * sites**2 / WORK)))
    step = min(step, frames // 2)
    some = observed.isel(frame=slice(None, None, step))
    temperature = float(options.get("temperature", 300.0))
    data = data_of(constants, some, {"temperature": temperature})
    words = []
    for i in interactions(constants):
        table = options.get(i.kind) == "table"
        words.append(
            f"{i.distribution}:width={options[WIDTHS[i.kind]]:g}" if table else i.distribution
        )
    joint = [pair.name for pair in neighbours_of(topology_of(data))]
    return _observed(_Frames(data), (*words, *joint[:MOST]))


class _Frames:
    """A data set that equals another of the same frames, as fits of one report often have."""

    def __init__(self, data: xr.Dataset) -> None:
        self.data = data
        held = [data[n].values for n in sorted(map(str, data.variables))]
        self.digest = sha256(b"".join(np.ascontiguousarray(v).tobytes() for v in held)).digest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frames) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


@lru_cache(maxsize=8)
def _observed(frames: _Frames, words: tuple[str, ...]) -> xr.Dataset:
    return observe(frames.data, words)
