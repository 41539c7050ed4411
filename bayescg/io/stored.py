"""What a result holds of the data it was fitted to, and the data as a model reads them again."""

from typing import Any

import numpy as np
import xarray as xr

from bayescg.observables.known import fixed_of, known_of
from bayescg.observables.molecular import AXES
from bayescg.topology import KINDS, Topology

__all__ = ["constants_of", "data_of"]

#: Names in a result's ``constant_data``: a variable of two axes named as one of them is a
#: coordinate to xarray, which ArviZ does not expect there.
STORED = {
    "type": "site_type",
    "mass": "site_mass",
    "molecule": "site_molecule",
    **{kind: f"{kind}_sites" for kind in (*KINDS, "exclusion")},
    **{f"{kind}_type": f"{kind}_name" for kind in KINDS},
}


def constants_of(data: xr.Dataset, topology: Topology) -> dict[str, Any]:
    """Box, topology, known ranges and fixed potentials, as :class:`bayescg.System` takes its constants.

    :param data: mapped data, or targets as :meth:`bayescg.io.targets.Targets.data` gives them.
    :param topology: of its sites.
    """
    from bayescg.topology import variables_of

    box = np.asarray(data["box"].values, float)
    out: dict[str, Any] = {"box": (("axis",), box, "edges of the periodic box", "angstrom")}
    for name, (dims, values) in variables_of(topology).items():
        unit = "g/mol" if name == "mass" else "1"
        # Along `angle` and `dihedral` lie the potentials of a result.
        dims = tuple(f"{d}_term" if d in KINDS else d for d in dims)
        out[STORED[name]] = (dims, values, f"topology: {name}", unit)
    known = known_of(data)
    labels = np.array([f"{kind} {name}" for kind, name in known])
    rows = np.array([list(v) for v in known.values()], float).reshape(-1, 4)
    text = "lowest and highest value in the data, mean and standard deviation; angstrom or radians"
    out["interaction_name"] = (("interaction_index",), labels, "interactions", "1")
    out["known"] = (("interaction_index", "known_what"), rows, text, "1")
    fixed = {k: v for k, v in fixed_of(data).items() if k in known}
    if fixed:
        number = [np.full(len(v.q), list(known).index(k)) for k, v in fixed.items()]
        for name, parts, text, unit in (
            ("fixed_interaction", number, "interaction, by number, that is fixed", "1"),
            ("fixed_coordinate", [v.q for v in fixed.values()], "angstrom or radians", "1"),
            ("fixed_potential", [v.u for v in fixed.values()], "fixed potential", "kcal/mol"),
        ):
            out[name] = (("fixed_point",), np.concatenate(parts), text, unit)
    return out


def data_of(
    constants: xr.Dataset, observed: xr.Dataset | None, attrs: dict[str, Any]
) -> xr.Dataset:
    """The data of a stored result; the inverse of :func:`constants_of`.

    :param constants: the group ``constant_data`` of a result.
    :param observed: its group ``observed_data``; None where it holds no frames.
    :param attrs: of the data set that is made.
    :raises ValueError: the constants lack what every result of molecules has.
    """
    missing = [n for n in ("box", "interaction_name", "known", "site_type") if n not in constants]
    if missing:
        raise ValueError(
            f"the result's constant_data hold no {', '.join(missing)}; allowed is a whole result of molecules."
        )
    names = {v: k for k, v in STORED.items()}
    out = xr.Dataset(attrs=attrs)
    for name in ("box", "known", *names):
        if name in constants:
            v = constants[name]
            out[names.get(name, name)] = (v.dims, v.values)
    labels = constants["interaction_name"].values
    out = out.assign_coords(interaction=("interaction_index", labels))
    if "fixed_interaction" in constants:
        number = np.asarray(constants["fixed_interaction"].values, int)
        for n in np.unique(number).tolist():
            kind, name = str(labels[n]).split(" ", 1)
            q = np.asarray(constants["fixed_coordinate"].values, float)[number == n]
            u = np.asarray(constants["fixed_potential"].values, float)[number == n]
            axis = f"potential_of_{kind}_{name}"
            out[f"{kind}_potential_{name}"] = (axis, u)
            out = out.assign_coords({axis: q / (1.0 if kind == "pair" else AXES[kind][2])})
    if observed is not None and "x" in observed:
        out["x"] = (("frame", "site", "axis"), np.asarray(observed["x"].values, float))
    return out
