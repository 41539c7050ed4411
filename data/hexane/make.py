"""Makes the data of this folder: liquid n-hexane, all atoms, OPLS-AA, by molecular dynamics with OpenMM.

From the repository root, with OpenMM and MDAnalysis installed:

    python data/hexane/make.py run FOLDER      the simulation, 45 minutes: FOLDER/hexane.gro and .trr
    python data/hexane/make.py check FOLDER    density at 1 bar and heat of vaporisation, half an hour
    python data/hexane/make.py map FOLDER      frames.nc and long_run.nc from the trajectory
"""

from contextlib import chdir
from dataclasses import replace
from pathlib import Path
import shutil
import sys

import numpy as np
import xarray as xr

import bayescg as cg
from bayescg import io
from bayescg.engines.flexible import FlexibleRun, openmm_system, simulate
from bayescg.engines.force_field import Atom, ForceField, Molecule
from bayescg.files import write_netcdf
from bayescg.observables import BondedDistribution, TypedRadialDistribution, blocked_error
from bayescg.potentials import classes_of
from bayescg.topology import topology_of
from bayescg.units import AVOGADRO, BOLTZMANN, KCAL, mass_density
from bayescg.workflow.mapping import map_trajectory

HERE = Path(__file__).parent

#: OPLS-AA: W. L. Jorgensen, D. S. Maxwell and J. Tirado-Rives, J. Am. Chem. Soc. 118, 11225 (1996).
#: Charges and Lennard-Jones parameters are its own for alkanes (atom types 135, 136 and 140); the
#: bonds and angles of alkanes are those of CHARMM 22, which it took over. The torsions are the
#: revised set for hydrocarbons of November 1999 that files of OPLS-AA have carried since. 1996 had
#: C-C-C-C 1.740, -0.157, 0.279, C-C-C-H 0.366 and H-C-C-H 0.318: there gauche butane lies 1.0
#: kcal/mol above trans, here 0.8.
OPLS_AA = ForceField(
    atoms={
        # element, g/mol, e, angstrom, kcal/mol
        "CH3": Atom("C", 12.011, -0.18, 3.50, 0.066),
        "CH2": Atom("C", 12.011, -0.12, 3.50, 0.066),
        "HC": Atom("H", 1.008, 0.06, 2.50, 0.030),
    },
    bonds={"C-C": (268.0, 1.529), "C-H": (340.0, 1.090)},
    angles={"C-C-C": (58.35, 112.7), "C-C-H": (37.5, 110.7), "H-C-H": (33.0, 107.8)},
    torsions={
        "C-C-C-C": (1.300, -0.050, 0.200),
        "C-C-C-H": (0.0, 0.0, 0.300),
        "H-C-C-H": (0.0, 0.0, 0.300),
    },
)

MOLECULES = 64
DENSITY = 0.653  # g/cm^3, of hexane at 300 K and 1 bar by experiment
TEMPERATURE = 300.0  # K
SEED = 0
EVERY = 1.0  # ps between shipped frames
SHIPPED = 5  # frames shipped with all their atoms


def alkane(carbons: int) -> Molecule:
    """An n-alkane, all trans; each carbon is followed by its hydrogens."""
    half = np.deg2rad(112.7 / 2.0)
    along, across = 1.529 * np.sin(half), 1.529 * np.cos(half)
    names, types, bonds, x = [], [], [], []
    last = None
    for k in range(carbons):
        end = k in (0, carbons - 1)
        up = 1.0 if k % 2 else -1.0
        at = np.array([k * along, (k % 2) * across, 0.0])
        arms = [np.array([0.0, up, side]) for side in (1.3764, -1.3764)]  # 108 degrees apart
        if end:  # the third goes where a next carbon would
            arms.append(np.array([along if k else -along, -up * across, 0.0]))
        here = len(names)
        if last is not None:
            bonds.append((last, here))
        last = here
        names.append(f"C{k + 1}")
        types.append("CH3" if end else "CH2")
        x.append(at)
        for h, arm in enumerate(arms):
            bonds.append((here, len(names)))
            names.append(f"H{k + 1}{'ABC'[h]}")
            types.append("HC")
            x.append(at + 1.090 * arm / np.linalg.norm(arm))
    return Molecule(tuple(names), tuple(types), tuple(bonds), np.array(x), OPLS_AA)


def conditions(molecule: Molecule) -> FlexibleRun:
    volume = MOLECULES * molecule.masses.sum() / (AVOGADRO * DENSITY)
    return FlexibleRun(
        molecules=MOLECULES,
        temperature=TEMPERATURE,
        box=round(volume ** (1.0 / 3.0), 3),
        timestep=4.0,
        substeps=2,
        cutoff=10.0,
        collision_rate=1.0,
        npt=0.0,
        equilibration=120.0,
        length=500.0,
        interval=0.2,
    )


def universe(molecule: Molecule, copies: int):
    """An MDAnalysis Universe of the liquid, with room for velocities and forces."""
    import MDAnalysis as mda

    atoms = len(molecule.names)
    u = mda.Universe.empty(
        copies * atoms,
        n_residues=copies,
        atom_resindex=np.repeat(np.arange(copies), atoms),
        trajectory=True,
        forces=True,
    )
    u.add_TopologyAttr("name", list(molecule.names) * copies)
    u.add_TopologyAttr("mass", np.tile(molecule.masses, copies))
    u.add_TopologyAttr("resname", ["HEX"] * copies)
    u.add_TopologyAttr("resid", np.arange(1, copies + 1))
    return u


def run(folder: Path) -> None:
    """The simulation; frames are written as they come, so that one cut short is not lost."""
    import MDAnalysis as mda

    folder.mkdir(parents=True, exist_ok=True)
    molecule = alkane(6)
    given = conditions(molecule)
    u = universe(molecule, MOLECULES)
    with (
        mda.Writer(str(folder / "hexane.trr"), len(u.atoms)) as out,
        open(folder / "energy.txt", "w") as log,
    ):
        frames = simulate(molecule, given, SEED, progress=tell)
        for k, frame in enumerate(frames):
            u.dimensions = [frame.box] * 3 + [90.0] * 3
            u.atoms.positions = frame.x
            u.atoms.forces = frame.forces * KCAL
            u.trajectory.ts.time = (k + 1) * given.interval
            u.trajectory.ts.data["step"] = (k + 1) * round(given.interval * 1e3 / given.timestep)
            if k == 0:
                u.atoms.write(str(folder / "hexane.gro"), reindex=True)
            out.write(u.atoms)
            log.write(f"{u.trajectory.ts.time:.1f} {frame.potential:.4f}\n")
            log.flush()


def mapped(folder: Path) -> None:
    """The whole trajectory mapped; some frames shipped, distributions measured on all of them."""
    import MDAnalysis as mda

    with chdir(folder):  # so that the files hold no paths of one machine
        shutil.copy(HERE / "hexane.yaml", "hexane.yaml")
        map_trajectory("hexane.trr", "hexane.gro", "hexane.yaml", "mapped.nc")
        data = io.load("mapped.nc")
        interval = conditions(alkane(6)).interval
        stride = round(EVERY / interval)
        source = (
            f"data/hexane/make.py: {data.sizes['frame'] * interval:g} ps of liquid n-hexane, "
            f"{MOLECULES} molecules, OPLS-AA, Langevin thermostat, PME, with OpenMM"
        )
        attrs = {**data.attrs, "source": source, "frame_spacing_ps": EVERY}
        frames = data.isel(frame=slice(stride - 1, None, stride)).assign_attrs(attrs)
        io.save(frames, HERE / "frames.nc")
        table = distributions(data, source, interval)
        write_netcdf(xr.DataTree(table), HERE / "long_run.nc")
        shutil.copy("hexane.gro", HERE / "hexane.gro")
        u = mda.Universe("hexane.gro", "hexane.trr")
        with mda.Writer(str(HERE / "hexane.trr"), len(u.atoms)) as out:
            for _ in u.trajectory[stride - 1 : SHIPPED * stride : stride]:
                out.write(u.atoms)


def check(folder: Path) -> None:
    """Density at 1 bar, and heat of vaporisation from that liquid and one molecule in a vacuum."""
    import openmm as mm

    molecule = alkane(6)
    given = replace(conditions(molecule), npt=100.0, equilibration=0.0, length=0.2)
    frames = list(simulate(molecule, given, SEED + 1, progress=tell))[20:-1]
    mass = MOLECULES * molecule.masses.sum()
    density = np.array([mass_density(mass, f.box**3) for f in frames])
    liquid = np.array([f.potential for f in frames]) / MOLECULES
    system = openmm_system(molecule, 1, None, 10.0)
    integrator = mm.LangevinMiddleIntegrator(TEMPERATURE, 1.0, 0.002)
    integrator.setRandomNumberSeed(SEED + 1)
    context = mm.Context(system, integrator, mm.Platform.getPlatformByName("Reference"))
    context.setPositions(molecule.shape * 0.1)
    vapour = []
    for _ in range(5500):
        integrator.step(200)
        vapour.append(context.getState(getEnergy=True).getPotentialEnergy()._value / KCAL)
    vapour = np.array(vapour[500:])
    heat = vapour.mean() - liquid.mean() + BOLTZMANN * TEMPERATURE
    errors = [float(blocked_error(v)) for v in (density, liquid, vapour)]
    print(f"density {density.mean():.4f} +- {errors[0]:.4f} g/cm^3 over {len(frames)} ps")
    print(f"potential energy, liquid {liquid.mean():.3f} +- {errors[1]:.3f} kcal/mol")
    print(f"potential energy, vapour {vapour.mean():.3f} +- {errors[2]:.3f} kcal/mol")
    print(f"heat of vaporisation {heat:.2f} +- {np.hypot(*errors[1:]):.2f} kcal/mol")


def distributions(data: xr.Dataset, source: str, interval: float) -> xr.Dataset:
    """RDFs and bonded distributions of mapped frames, as target distributions are kept."""
    topology = topology_of(data)
    classes = classes_of(topology, topology.pairs)
    box = data["box"].values.astype(float)
    measured = [
        TypedRadialDistribution(0.1, 12.0, "pairs", classes, name) for name in classes.names
    ]
    for kind, name, width, low, high in (
        ("bond", "AB", 0.02, 1.9, 3.3),
        ("angle", "ABA", 2.0, 0.0, 180.0),
    ):
        members = classes.members[kind, name]
        measured.append(BondedDistribution(kind, name, members, width, low, high))
    out = cg.observe(data, [o.in_box(box) for o in measured])
    kinds = topology.kinds
    out["box"] = ("axis", box)
    out["count"] = ("type", [topology.types.count(k) for k in kinds])
    out = out.assign_coords(type=list(kinds))
    out.attrs = {
        "temperature": TEMPERATURE,
        "source": source,
        "reference_frames": data.sizes["frame"],
        "reference_interval_ps": interval,
        "sha256": data.attrs["sha256"],
    }
    return out


def tell(stage: str, done: float) -> None:
    print(f"\r{stage} {done:6.1%}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    verbs = {"run": run, "check": check, "map": mapped}
    if len(sys.argv) != 3 or sys.argv[1] not in verbs:
        sys.exit(__doc__)
    verbs[sys.argv[1]](Path(sys.argv[2]))
