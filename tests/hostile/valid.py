"""Small valid files of every kind that is read: accepted as they are, or no test of broken ones would say anything."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from bayescg import io, results, workflow
from bayescg.files import labelled, write_netcdf
from bayescg.infer import checkpoint
from bayescg.io.targets import Target, make_targets, save_targets
from bayescg.workflow import importing
from tests import trajectories, typed_fits, votca_project
from tests.liquids import liquid

SPIN_FIT = {
    "options": ["ratio=4", "L2=1", "L3=0", "prior=normal", "prior_scale=1.0", "frames=8"],
    "method_options": ["draws=8", "max_iterations=2", "weights=false", "free_chains=16"],
}
#: Everything that a map may say.
MAP = """\
temperature: 300
masses: {C1: 12.011}
ignore: resname SOL
molecules:
  MOL:
    select: resname MOL
    split: residue
    beads:
      A: {type: P, atoms: [C1, H1], weights: equal, mass: total}
      B: {type: Q, numbers: [3, 4-6], weights: [1, 1, 1, 2.5], force_weights: [1, 1, 1, 1], mass: 45.0}
      C: name O1 HO
    bonds: {AB: [A, B], BC: [[B, C]]}
    angles: {ABC: [A, B, C]}
    exclusions: [[A, C]]
    unmapped: allowed
    shared: [O1, HO]
"""
IDENTITY = {"model": "ising", "seed": "0"}


def spins() -> xr.Dataset:
    x = np.random.default_rng(0).choice([-1, 1], size=(8, 16))
    return xr.Dataset({"x": (("frame", "site"), x)}, attrs={"beta": 0.3, "mu": 0.3})


def field_sweep() -> xr.Dataset:
    x = np.random.default_rng(1).choice([-1, 1], size=(3, 8, 16))
    found = xr.Dataset({"x": (("mu", "frame", "site"), x)}, attrs={"beta": 0.3})
    return found.assign_coords(mu=[-0.5, 0.0, 0.5])


def water(forces: bool = True) -> xr.Dataset:
    x = liquid(24, 4, box=(10.0,) * 3).transpose(2, 1, 0)
    dims = ("frame", "site", "axis")
    found = xr.Dataset({"x": (dims, x), "box": ("axis", np.full(3, 10.0))})
    if forces:
        found["forces"] = (dims, np.random.default_rng(0).normal(size=x.shape))
    return found.assign_attrs(temperature=300.0)


def temperature_sweep() -> xr.Dataset:
    one = water(forces=False)
    dims = ("temperature", "frame", "site", "axis")
    x = np.stack([one["x"].values, one["x"].values])
    found = xr.Dataset({"x": (dims, x), "box": one["box"]})
    return found.assign_coords(temperature=[280.0, 320.0])


def targets(path: Path) -> None:
    r = 0.05 + 0.1 * np.arange(80)
    g = 1.0 - np.exp(-((r / 4.0) ** 8))
    made = Target("pair", "A_A", r, g, ("A", "A"))
    save_targets(
        make_targets([made], box=np.full(3, 20.0), count={"A": 100}, temperature=300.0), path
    )


def water_result() -> Any:
    """What a fit of water would store, with draws that no method made."""
    rng = np.random.default_rng(0)
    draws = {
        "theta_c": 0.2 * rng.normal(size=(2, 3, 4)),
        "epsilon": rng.uniform(0.1, 0.2, (2, 3)),
        "sigma": rng.uniform(2.8, 3.0, (2, 3)),
        "sigma2": np.full((2, 3), 0.02),
    }
    x = {"x": water()["x"].values}
    box = {"box": np.full(3, 10.0)}
    groups = {
        "posterior": results.to_dataset(draws, dims={"theta_c": ("feature",)}),
        "observed_data": results.to_dataset(
            x, dims={"x": ("frame", "site", "axis")}, sample_dims=()
        ),
        "constant_data": results.to_dataset(box, dims={"box": ("axis",)}, sample_dims=()),
    }
    options = {"sites": 24, "box": 10.0, "cutoff": 4.9, "high": 4.9, "features": 4, "core": 2.2}
    attrs = {"method": "mcem", "model": "spce_water", "converged": 1, "ended": "converged"}
    options |= {"temperature": 310.0}
    return results.inference_data(groups, model_options=options, data_source="f.nc", **attrs)


def spin_result() -> Any:
    """A real fit of spins, predicted."""
    data = spins()
    fitted = workflow.fit("ising", data, **SPIN_FIT)
    return workflow.predict(fitted, reference=data, draws=4)


def write_checkpoint(path: Path) -> None:
    """States such as loops keep: mappings, lists, tuples and arrays, two places of them."""
    with checkpoint.keeping(path, IDENTITY) as file:
        assert file is not None
        state = {"u": np.zeros((3, 2)), "rows": [1, 2.5, "a"], "pair": (np.arange(3), None)}
        checkpoint.place("chains").keep(state)
        checkpoint.place("trace").keep([{"distance": np.ones(4)}])
        file.write()


def write_model(path: Path) -> None:
    path.write_text(
        "from bayescg_models.ising import Options, SUMMARY, options_from_data\n"
        "from bayescg_models.ising import reference, system\n"
    )


def _netcdf(made: Callable[[], xr.Dataset]) -> Callable[[Path], None]:
    return lambda path: io.save(made(), path)


def _result(made: Callable[[], Any]) -> Callable[[Path], None]:
    return lambda path: results.save(made(), path)


def _observed(path: Path) -> None:
    write_netcdf(xr.DataTree(labelled(workflow.observe(field_sweep()))), path)


#: How each file of netCDF is made, and the kind of what it holds.
NETCDF: dict[str, tuple[str, Callable[[Path], None]]] = {
    "spins.nc": ("data", _netcdf(spins)),
    "fields.nc": ("data", _netcdf(field_sweep)),
    "water.nc": ("data", _netcdf(water)),
    "temperatures.nc": ("data", _netcdf(temperature_sweep)),
    "molecules.nc": ("data", _netcdf(lambda: typed_fits.frames(6))),
    "pair.nc": ("targets", targets),
    "observed.nc": ("observables", _observed),
    "molecules_fit.nc": (
        "result",
        _result(lambda: typed_fits.result(reference=None, predicted=None)),
    ),
    "water_fit.nc": ("result", _result(water_result)),
    "spins_fit.nc": ("result", _result(spin_result)),
}

#: Those that a fit makes, which takes half a minute where its programs are not compiled yet.
FITS = ("molecules_fit.nc", "spins_fit.nc")


def write_project(folder: Path) -> None:
    """A VOTCA project, and its targets in a file of this package."""
    folder.mkdir()
    votca_project.write(folder)
    save_targets(importing.import_targets(folder / "settings.xml"), folder / "targets.nc")


def write_trajectories(folder: Path) -> None:
    """Every format of which there is a reader with checks of its own, a folder each."""
    x, forces = trajectories.molecules(3, 2)
    for kind in ("xtc", "trr", "dcd", "pdb", "ncdf", "xyz", "lammps"):
        (folder / kind).mkdir(parents=True)
        given = forces if kind in ("trr", "ncdf", "lammps") else None
        trajectories.write(kind, folder / kind, x, given)
        text = trajectories.MAP_BY_NUMBER if kind == "lammps" else trajectories.MAP
        (folder / kind / "map.yaml").write_text(text)
    (folder / "xyz" / "traj.dcd").write_bytes((folder / "dcd" / "traj.dcd").read_bytes())
    (folder / "whole.yaml").write_text(MAP)


def write_all(folder: Path, fits: bool = True) -> None:
    """Every valid file, below one folder.

    :param fits: those of :data:`FITS` too.
    """
    for name, (_, write) in NETCDF.items():
        if fits or name not in FITS:
            write(folder / name)
    write_project(folder / "votca")
    write_trajectories(folder / "trajectories")
    write_checkpoint(folder / "fit.nc.checkpoint")
    write_model(folder / "model.py")
