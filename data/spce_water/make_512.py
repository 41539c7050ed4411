"""Makes frames_512.nc and long_run_512.nc: 512 molecules of SPC/E water, with forces.

From the repository root, with OpenMM installed; FOLDER keeps what the run has so far:

    python data/spce_water/make_512.py run FOLDER      the simulation, half an hour
    python data/spce_water/make_512.py write FOLDER    the files of this folder from it
"""

import hashlib
import json
from pathlib import Path
import sys

import numpy as np
import xarray as xr

import bayescg as cg
from bayescg import io
from bayescg.engines.rigid_water import RigidWater, Run, trajectory
from bayescg.files import write_netcdf
from bayescg.observables import rdf
from bayescg.units import AVOGADRO

HERE = Path(__file__).parent
MOLECULES = 512
DENSITY = 0.998  # g/cm^3, about that of SPC/E at 300 K and 1 bar
SEED = 512
EVERY = 2.0  # ps between shipped frames
WIDTH, LONGEST = 0.05, 12.0  # angstrom, of the RDF

MASS = float(RigidWater().masses.sum())
RUN = Run(
    molecules=MOLECULES,
    temperature=300.0,
    box=round((MOLECULES * MASS / (AVOGADRO * DENSITY)) ** (1.0 / 3.0), 3),
    timestep=2.0,
    cutoff=9.0,
    equilibration=50.0,
    length=300.0,
    interval=0.1,
)


def run(folder: Path) -> None:
    """The simulation; frames are written as they come, so that one cut short is not lost."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"box": RUN.box, "interval": RUN.interval}))
    with open(folder / "x.f32", "wb") as x, open(folder / "forces.f32", "wb") as forces:
        for frame in trajectory(RUN, SEED, progress=tell, forces=True):
            x.write(frame.x.astype("<f4").tobytes())
            forces.write(frame.forces.astype("<f4").tobytes())
            x.flush()
            forces.flush()


def write(folder: Path) -> None:
    given = json.loads((folder / "run.json").read_text())
    shape = (-1, MOLECULES, 3)
    forces = np.fromfile(folder / "forces.f32", "<f4")
    forces = forces[: len(forces) // (3 * MOLECULES) * 3 * MOLECULES].reshape(shape)
    x = np.fromfile(folder / "x.f32", "<f4")[: forces.size].reshape(shape)
    dims, interval = ("frame", "site", "axis"), given["interval"]
    every = xr.Dataset(
        {"x": (dims, x), "forces": (dims, forces), "box": ("axis", np.full(3, given["box"]))},
        attrs={
            "temperature": RUN.temperature,
            "source": (
                f"data/spce_water/make_512.py: {len(x) * interval:g} ps of SPC/E, {MOLECULES} molecules, "
                f"{RUN.thermostat} thermostat, {RUN.timestep:g} fs, PME, with OpenMM"
            ),
            "reference_frames": len(x),
            "reference_interval_ps": interval,
            "sha256": hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest(),
        },
    )
    measured = cg.observe(every, [rdf(WIDTH, LONGEST).in_box(every["box"].values)])
    stride = round(EVERY / interval)
    frames = every.isel(frame=slice(stride - 1, None, stride)).assign(
        type=("site", np.full(MOLECULES, "W")),
        mass=("site", np.full(MOLECULES, MASS)),
        molecule=("site", np.arange(MOLECULES)),
        rdf=measured["rdf"],
        rdf_se=measured["rdf_se"],
    )
    io.save(frames.assign_attrs(frame_spacing_ps=EVERY), HERE / "frames_512.nc")
    table = measured.rename(rdf="rdf_W_W", rdf_se="rdf_W_W_se")
    table["rdf_W_W_se"].attrs["long_name"] = "standard error of rdf_W_W"
    table = table.assign(box=every["box"], count=("type", [MOLECULES])).assign_coords(type=["W"])
    write_netcdf(xr.DataTree(table.assign_attrs(every.attrs)), HERE / "long_run_512.nc")


def tell(stage: str, done: float) -> None:
    print(f"\r{stage} {done:6.1%}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    verbs = {"run": run, "write": write}
    if len(sys.argv) != 3 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[sys.argv[1]](Path(sys.argv[2]))
