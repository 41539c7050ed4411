"""Compiled kernels against JAX doing the same, and what happens where there are none."""

import os
from pathlib import Path
import platform
import stat
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg import compiled
from bayescg.potentials import (
    Interaction,
    InversePowers,
    LennardJones,
    MolecularPotential,
    ParticlePotential,
    StillingerWeber,
    counting,
)
from bayescg.potentials.classes import classes_of
from bayescg.potentials.counting import Nodes, count_pairs
from bayescg.samplers import Dynamics, Held, Tether, particle_sampler, trajectories
from bayescg.samplers.forces import Lists, Tables, energy, forces, tabulate
from bayescg.samplers.lists import listed
from bayescg.samplers.trajectories import forces_and_energy, supports, trajectory
from bayescg.topology import Topology
from tests.liquids import BETA, BOX, SITES, liquid, water
from tests.samplers.test_lists import BOX as WIDE
from tests.samplers.test_lists import FLUID, drops, gas
from tests.statistical import check_z

needed = pytest.mark.skipif(not compiled.available(), reason="no C++ compiler")
CHAINS = 3
CUTOFF = InversePowers(cutoff=5.0)


@pytest.fixture(autouse=True)
def fine_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of sites draw a curve through a table, of which JAX takes the steps: finer ones leave no difference."""
    monkeypatch.setattr("bayescg.samplers.forces.NODES", 2**17)


def waters() -> jax.Array:
    rng = np.random.default_rng(2)
    x = np.stack([liquid(SITES)] * CHAINS, -1)
    return jnp.asarray(x + rng.normal(0.0, 0.05, x.shape), jnp.float32)


def mixture() -> MolecularPotential:
    """Two kinds of sites, in turn; one pair of them is excluded."""
    topology = Topology(("A", "B") * (SITES // 2), np.ones(SITES), np.arange(SITES) // 2)
    pairs = tuple(
        Interaction((LennardJones(e, s, CUTOFF),), "pair", n)
        for n, e, s in (("A_A", 0.3, 2.8), ("A_B", 0.2, 3.0), ("B_B", 0.5, 2.6))
    )
    return MolecularPotential(
        pairs, classes_of(topology, (("A", "A"), ("A", "B"), ("B", "B"))), BOX
    )


TETHER = Tether(waters() + 0.1, jnp.array([1.0, 2.0, 3.0], jnp.float32))
HELD = Held(waters(), jnp.asarray(np.arange(SITES)[:, None] % 3 > np.zeros(CHAINS), jnp.float32))
AXES = TETHER._replace(
    stiffness=jnp.array([1.0, 4.0, 9.0], jnp.float32)[:, None, None] * TETHER.stiffness
)
EACH = TETHER._replace(
    stiffness=jnp.asarray(
        np.random.default_rng(3).uniform(1.0, 9.0, (1, SITES, CHAINS)), jnp.float32
    )
)
CASES = {
    "pairs": (lambda: water(20), None),
    "three bodies": (
        lambda: ParticlePotential((LennardJones(0.0, 3.0),), BOX, StillingerWeber(15.2)),
        None,
    ),
    "tether": (lambda: water(20), TETHER),
    "tether of axes": (lambda: water(20), AXES),
    "tether of sites": (lambda: water(20), EACH),
    "classes": (mixture, None),
    "held": (mixture, HELD),
}


def tables_of(name: str) -> tuple[Tables, Tether | Held | None]:
    potential, tether = CASES[name]
    return tabulate(potential(), jnp.asarray(BETA), jnp.float32), tether


@needed
@pytest.mark.parametrize("name", CASES)
@pytest.mark.slow
def test_forces_and_energies(name: str) -> None:
    """As JAX has them, but for the energy that only held sites have."""
    tables, tether = tables_of(name)
    assert supports(tables)
    x = waters()
    near = listed(tables, x, BOX).lists
    f, e = jax.jit(forces_and_energy)(tables, x, tether)
    expected = forces(tables, x, near, tether)
    np.testing.assert_allclose(f, expected, rtol=2e-4, atol=2e-4 * np.abs(expected).max())
    if isinstance(tether, Held):
        moved = x + tether.free * 0.01
        gained = jax.jit(forces_and_energy)(tables, moved, tether)[1] - e
        np.testing.assert_allclose(
            gained, energy(tables, moved, near) - energy(tables, x, near), atol=2e-2
        )
        assert np.all(np.abs(gained) > 0.1)
    else:
        np.testing.assert_allclose(e, energy(tables, x, near, tether), rtol=1e-4, atol=2e-3)


@pytest.mark.slow
@needed
@pytest.mark.parametrize("tether", [AXES, EACH], ids=["axes", "sites"])
def test_stiffness_of_axes_and_of_sites(tether: Tether) -> None:
    """What a tether adds, without three bodies; one stiffness said for each coordinate is the same as said once."""
    tables = tabulate(water(20, three_body=False), jnp.asarray(BETA), jnp.float32)
    x = waters()
    bare, none = forces_and_energy(tables, x)
    f, e = forces_and_energy(tables, x, tether)
    gap = tether.centre - x
    size = float(jnp.abs(bare).max())
    np.testing.assert_allclose(f - bare, tether.stiffness * gap, atol=1e-5 * size)
    np.testing.assert_allclose(
        e - none, 0.5 * jnp.sum(tether.stiffness * gap**2, (0, 1)), rtol=1e-3, atol=1e-2
    )
    once = TETHER.stiffness
    said = TETHER._replace(stiffness=jnp.broadcast_to(once, (3, 1, CHAINS)))
    ends = [
        trajectory(
            tables, x, 0.1 * x, 0.01 * once, 1.0 + 0.0 * once, jax.random.key(0), 5, False, t
        )
        for t in (TETHER, said)
    ]
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-3)


def ripple(tables: Tables, height: float) -> Tables:
    """With a wave on the potential that is too short for the pieces of a curve."""
    s = 1.0 + tables.step * jnp.arange(len(tables.value))
    value = tables.value + height * jnp.sin(20.0 * s).astype(tables.value.dtype)
    slope = jnp.append(jnp.diff(value) / tables.step, 0.0)
    return tables._replace(value=value, slope=slope.astype(value.dtype))


@needed
@pytest.mark.parametrize("height", [0.0, 1e-5, 0.05])
def test_potentials_in_pieces(height: float) -> None:
    """Where pieces cannot follow a potential the table itself is asked, and where sites are nearer than they begin."""
    smooth = ParticlePotential((LennardJones(0.4, 2.8, CUTOFF),), BOX)
    tables = ripple(tabulate(smooth, jnp.asarray(BETA), jnp.float32), height)
    x = waters()
    x = x.at[:, 1].set(x[:, 0] + jnp.array([[0.9], [0.3], [0.1]], x.dtype))  # 0.95 angstrom apart
    f, e = forces_and_energy(tables, x)
    expected = forces(tables, x, Lists())
    near = np.asarray([0, 1])
    np.testing.assert_allclose(f[:, near], expected[:, near], rtol=1e-3)
    rest, known = np.delete(f, near, 1), np.delete(expected, near, 1)
    # A wave that pieces leave out may be seen in forces, which are its steepness.
    unseen = 2.0 * 20.0 * 5.0 * height if height < 1e-3 else 0.0
    np.testing.assert_allclose(rest, known, atol=1e-3 * np.abs(known).max() + 12.0 * unseen)
    np.testing.assert_allclose(e, energy(tables, x, Lists()), rtol=1e-4)


@needed
def test_what_blew_up_is_seen() -> None:
    """A site that is nowhere leaves no number of its chain, and the others as they were."""
    tables = tabulate(mixture(), jnp.asarray(BETA), jnp.float32)
    x = waters()
    f, e = forces_and_energy(tables, x)
    for place in (jnp.nan, jnp.inf, 1e30):
        lost, u = forces_and_energy(tables, x.at[1, 5, 1].set(place))
        assert not np.any(np.isfinite(u[1])) and not np.all(np.isfinite(lost[..., 1]))
        np.testing.assert_array_equal(lost[..., [0, 2]], f[..., [0, 2]])
        np.testing.assert_array_equal(u[jnp.array([0, 2])], e[jnp.array([0, 2])])


@needed
def test_every_chain_its_own_table() -> None:
    three = [tabulate(water(20), jnp.asarray(b), jnp.float32) for b in (0.5, 1.0, 2.0)]
    assert three[0].three_body is not None
    each = three[0]._replace(
        value=jnp.stack([t.value for t in three], -1),
        slope=jnp.stack([t.slope for t in three], -1),
        three_body=jnp.stack([t.three_body for t in three]),
    )
    x = waters()
    f, e = forces_and_energy(each, x)
    for k, tables in enumerate(three):
        one, u = forces_and_energy(tables, x[..., k : k + 1])
        np.testing.assert_allclose(f[..., k], one[..., 0], rtol=1e-6)
        np.testing.assert_allclose(e[k], u[0], rtol=1e-6)


@needed
@pytest.mark.parametrize("place", [gas, drops])
def test_many_cells_and_crowded_rows(place) -> None:  # type: ignore[no-untyped-def]
    """Six cells along an edge; and a drop, whose lists outgrow the room that they begin with."""
    tables = tabulate(FLUID, jnp.asarray(1.7), jnp.float32)
    x = jnp.asarray(place(), jnp.float32)
    f, e = forces_and_energy(tables, x)
    expected = forces(tables, x, Lists())
    np.testing.assert_allclose(f, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    np.testing.assert_allclose(e, energy(tables, x, Lists()), rtol=1e-5)
    # Where a wall is crossed nothing changes.
    beyond = forces_and_energy(
        tables, x + jnp.asarray([36.0, -72.0, 360.0], x.dtype)[:, None, None]
    )
    np.testing.assert_allclose(beyond[1], e, rtol=1e-3)


@needed
@pytest.mark.parametrize("name", CASES)
@pytest.mark.slow
def test_newton_s_equations(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One HMC trajectory is JAX's, as far as rounding lets both go together."""
    potential, tether = CASES[name]
    found = []
    for without in (False, True):
        if without:
            monkeypatch.setattr(trajectories, "available", lambda: False)
        sampler = particle_sampler(SITES, BOX, Dynamics("hmc", steps=8, first=0.004))
        assert sampler.at is not None
        ready = sampler.prepare(potential(), jnp.asarray(BETA))
        start = sampler.at(jax.random.key(0), waters())
        state, info = jax.jit(sampler.step)(jax.random.key(1), start, *ready, tether)
        found.append((state, info))
    (fast, told), (slow, said) = found
    np.testing.assert_allclose(fast.x, slow.x, atol=2e-4)
    np.testing.assert_allclose(fast.frequency, slow.frequency, rtol=1e-3)
    np.testing.assert_allclose(told.changed, said.changed, atol=0.02)
    assert np.any(np.abs(fast.x - waters()) > 0.02)


@needed
def test_random_numbers() -> None:
    """Without forces a thermostat that keeps nothing gives normal velocities, each its own.

    False-failure rate 2e-6 of each of eight checks.
    """
    nothing = ParticlePotential((LennardJones(0.0, 3.0),), WIDE)
    tables = tabulate(nothing, jnp.asarray(1.0), jnp.float32)
    sites, chains = 700, 64
    x = jnp.zeros((3, sites, chains), jnp.float32)
    x = x + jnp.arange(sites)[:, None] * 5.0
    step = jnp.full(chains, 1e-3, jnp.float32)
    kept = jnp.zeros(chains, jnp.float32)

    def velocities(key: int, steps: int) -> np.ndarray:
        out = trajectory(tables, x, x * 0.0, step, kept, jax.random.key(key), steps, True)
        return np.asarray(out[1], float)

    one, two, later = velocities(1, 1), velocities(2, 1), velocities(1, 2)
    np.testing.assert_array_equal(one, velocities(1, 1))
    count = one.size
    check_z(one.mean(), 0.0, 1.0 / np.sqrt(count))
    check_z((one**2).mean(), 1.0, np.sqrt(2.0 / count))
    check_z((one**3).mean(), 0.0, np.sqrt(15.0 / count))
    check_z((one**4).mean(), 3.0, np.sqrt(96.0 / count))
    for other in (two, later, np.roll(one, 1, 2), np.roll(one, 1, 1)):
        check_z((one * other).mean(), 0.0, 1.0 / np.sqrt(count))


@needed
@pytest.mark.parametrize(
    ("order", "ends"),
    [("nearest", "clipped"), ("nearest", "dropped"), ("linear", "clipped"), ("cubic", "clipped")],
)
@pytest.mark.parametrize("classes", [None, "mixture"])
def test_counts(order: str, ends: str, classes: str | None) -> None:
    """Pairs by distance are counted as JAX counts them; what is not a number stays none."""
    nodes = Nodes(1.0, 0.05, 90, order, ends)  # type: ignore[arg-type]
    kinds = None if classes is None else mixture().classes
    x = waters().astype(float)
    expected = counting._count_pairs(x, BOX, nodes, kinds)
    found = jax.jit(lambda x: count_pairs(x, BOX, nodes, kinds))(x)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert expected.shape == found.shape and np.any(expected > 0)
    ill = np.asarray(count_pairs(x.at[0, 3, 1].set(jnp.nan), BOX, nodes, kinds))
    assert np.all(np.isnan(ill[..., 1])) and np.all(np.isfinite(ill[..., 0]))


@needed
def test_counts_have_the_derivative_of_their_weights() -> None:
    nodes = Nodes(1.0, 0.05, 90, "cubic")
    x, way = waters().astype(float), jax.random.normal(jax.random.key(0), (3, SITES, CHAINS))
    weights = jnp.linspace(0.0, 1.0, 90) ** 2

    def f(count):  # type: ignore[no-untyped-def]
        return jax.jvp(lambda x: weights @ count(x)[0], (x,), (way,))[1]

    np.testing.assert_allclose(
        f(lambda x: count_pairs(x, BOX, nodes)),
        f(lambda x: counting._count_pairs(x, jnp.asarray(BOX), nodes, None)),
        rtol=1e-9,
    )


@needed
@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param("held", marks=pytest.mark.by_hand), "three bodies"])
@pytest.mark.parametrize(
    "flags",
    [
        "-DBAYESCG_LISTS",
        "-DBAYESCG_EIGHT",
        "-DBAYESCG_EIGHT -mno-avx2",
        pytest.param(
            f"-isystem {Path(__file__).parents[1] / 'emulated'} -DBAYESCG_SIXTEEN",
            marks=pytest.mark.skipif(platform.machine() != "x86_64", reason="x86's own header"),
        ),
    ],
    ids=["lists", "eight", "eight plainly", "sixteen emulated"],
)
def test_other_processors(tmp_path: Path, name: str, flags: str) -> None:
    """Lists of single sites, blocks of eight with and without instructions for them, and of sixteen: the same."""
    code = (
        "import sys; import numpy as np; import tests.samplers.test_compiled as t;"
        "import bayescg.samplers.forces as forces; forces.NODES = 2**17;"
        f"tables, tether = t.tables_of('{name}');"
        "f, e = t.forces_and_energy(tables, t.waters(), tether); np.savez(sys.argv[1], f=f, e=e)"
    )
    compiler = " ".join([*(compiled._compiler() or []), flags])
    where = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "CXX": compiler, "JAX_ENABLE_X64": "1"}
    out = tmp_path / "found.npz"
    subprocess.run([sys.executable, "-c", code, str(out)], env=where, check=True)
    assert list(tmp_path.rglob("*.so"))
    with np.load(out) as found:
        tables, tether = tables_of(name)
        f, e = forces_and_energy(tables, waters(), tether)
        np.testing.assert_allclose(found["f"], f, atol=2e-4 * np.abs(f).max())
        np.testing.assert_allclose(found["e"], e, rtol=1e-4)


# Where there is no compiler


def said(place: Path, **environment: str) -> tuple[str, str]:
    """What another process finds, and what it logs."""
    code = (
        "import logging, sys; logging.basicConfig(level='INFO', stream=sys.stderr);"
        "from bayescg.compiled import available; print(available())"
    )
    inherited = {k: v for k, v in os.environ.items() if k != "BAYESCG_COMPILED"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, "XDG_CACHE_HOME": str(place), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip(), done.stderr


def test_it_can_be_turned_off(tmp_path: Path) -> None:
    assert said(tmp_path, BAYESCG_COMPILED="0")[0] == "False"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false", f"{sys.executable} -c 1/0"])
def test_a_compiler_that_fails(tmp_path: Path, compiler: str) -> None:
    answer, log = said(tmp_path, CXX=compiler)
    assert answer == "False"
    assert "could not be compiled, particles move by JAX alone" in log
    assert not list(tmp_path.rglob("*.so"))


@needed
@pytest.mark.slow
def test_kernels_are_kept_for_the_next_run(tmp_path: Path) -> None:
    assert said(tmp_path)[0] == "True"
    (kept,) = tmp_path.rglob("*.so")
    made = kept.stat().st_mtime_ns
    assert said(tmp_path)[0] == "True"
    assert kept.stat().st_mtime_ns == made
    assert [p.name for p in kept.parent.iterdir()] == [kept.name]
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    # A file that is no library is no reason to stop.
    kept.write_bytes(b"nothing")
    assert said(tmp_path)[0] == "False"
