"""Pulls of data on latent sites: forces, components, flows, and the kernel that draws components."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from bayescg.potentials import InversePowers, LennardJones, ParticlePotential
from bayescg.samplers import Dynamics, Tether, TetherMixture, particle_sampler
from bayescg.samplers.forces import energy, forces, tabulate
from tests.statistical import check_frequencies, check_mean

SITES, CHAINS = 5, 3
BOX = (9.0,) * 3
NOTHING = ParticlePotential((LennardJones(0.0, 3.0, InversePowers(cutoff=4.0)),), BOX)
WEIGHTS, SIGMA2 = np.array([0.6, 0.3, 0.1]), np.array([0.05, 0.3, 1.2])
SHAPES = {
    "chain": (CHAINS,),
    "axes": (3, 1, CHAINS),
    "sites": (1, SITES, CHAINS),
    "all": (3, SITES, CHAINS),
}


def normal(shape: tuple[int, ...], seed: int = 0) -> Tether:
    rng = np.random.default_rng(seed)
    centre = rng.normal(scale=3.0, size=(3, SITES, CHAINS))
    return Tether(jnp.asarray(centre), jnp.asarray(rng.uniform(1.0, 20.0, shape)))


def mixture(sites: int = SITES, chains: int = CHAINS) -> TetherMixture:
    centre = np.random.default_rng(1).normal(scale=3.0, size=(3, sites, chains))
    of_chains = np.ones(chains)
    return TetherMixture(
        jnp.asarray(centre),
        jnp.asarray(np.outer(1.0 / SIGMA2, of_chains)),
        jnp.asarray(np.outer(np.log(WEIGHTS), of_chains)),
    )


def places(pull: Tether | TetherMixture, seed: int = 2) -> jax.Array:
    gap = 0.5 * np.random.default_rng(seed).normal(size=pull.centre.shape)
    return pull.centre + jnp.asarray(gap)


@pytest.mark.parametrize("name", SHAPES)
def test_a_tether_s_forces_are_the_slopes_of_its_log_density(name: str) -> None:
    """Of a normal with these variances, as SciPy has it; the energy is what the density is the exponential of."""
    tether = normal(SHAPES[name])
    x = places(tether)
    tables = tabulate(NOTHING, jnp.asarray(1.0), jnp.float64)
    f = forces(tables, x, tether=tether)
    slopes = jax.grad(lambda x: jnp.sum(tether.log_density(x)))(x)
    np.testing.assert_allclose(f, slopes, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        energy(tables, x, tether=tether),
        tether.log_density(tether.centre) - tether.log_density(x),
        rtol=1e-12,
    )
    sd = np.broadcast_to(1.0 / np.sqrt(tether.stiffness), x.shape)
    expected = stats.norm.logpdf(x, tether.centre, sd) + 0.5 * np.log(2.0 * np.pi)
    np.testing.assert_allclose(tether.log_density(x), expected.sum((0, 1)), rtol=1e-12)


def responsibilities(pull: TetherMixture, x: jax.Array) -> np.ndarray:
    """``(component, site, chain)``, by SciPy."""
    gap = np.moveaxis(np.asarray(x - pull.centre), 0, -1)
    normals = (stats.multivariate_normal(cov=s * np.eye(3)) for s in SIGMA2)
    joint = np.array([w * n.pdf(gap) for w, n in zip(WEIGHTS, normals, strict=True)])
    return joint / joint.sum(0)


def test_components_are_drawn_as_bayes_has_it() -> None:
    """At the same places by 20,000 chains, by their frequencies; the mean force is the slope of the mixture."""
    pull = mixture()
    x = places(pull)
    expected = responsibilities(pull, x)
    mean = np.sum(expected / SIGMA2[:, None, None], 0) * np.asarray(pull.centre - x)
    slopes = jax.grad(lambda x: jnp.sum(pull.log_density(x)))(x)
    np.testing.assert_allclose(slopes, mean, rtol=1e-10)
    draws = jax.vmap(lambda k: pull.drawn(k, x).stiffness)(
        jax.random.split(jax.random.key(0), 20_000)
    )
    assert draws.shape == (20_000, 1, SITES, CHAINS)
    for site in range(SITES):
        each = np.asarray(draws[:, 0, site, 0])
        counts = [np.sum(np.isclose(each, 1.0 / s)) for s in SIGMA2]
        check_frequencies(np.array(counts), expected[:, site, 0])


@pytest.mark.parametrize("name", ["axes", "mixture widths", "mixture weights", "centre"])
def test_flows_carry_the_density(name: str) -> None:
    r"""The continuity equation :math:`\partial_v\log m = -\nabla\cdot b - b\cdot\nabla\log m`, site by site.

    From a thousandth of a standard deviation of the narrowest to six of the widest.
    """
    centre = jnp.zeros((3, 1, 1))

    def pull(v: jax.Array) -> Tether | TetherMixture:
        if name == "axes":
            return Tether(centre, jnp.array([1.0, 3.0, 8.0])[:, None, None] * jnp.exp(-v))
        if name == "centre":
            return Tether(centre + v, jnp.full((1, 1, 1), 4.0))
        log_k = -jnp.log(jnp.asarray(SIGMA2))
        log_w = jnp.log(jnp.asarray(WEIGHTS))
        if name == "mixture widths":
            log_k = log_k - v * jnp.array([1.0, 0.3, -0.5])
        else:
            log_w = jax.nn.log_softmax(log_w + v * jnp.array([1.0, -0.4, 0.2]))
        return TetherMixture(centre, jnp.exp(log_k)[:, None], log_w[:, None])

    here, change = jax.jvp(pull, (jnp.zeros(()),), (jnp.ones(()),))

    def at(d: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = d[:, None, None]
        change_of_m = jax.jvp(
            lambda v: pull(v).log_density(x)[0], (jnp.zeros(()),), (jnp.ones(()),)
        )[1]

        def b(d: jax.Array) -> jax.Array:
            return here.flow(change, d[:, None, None])[:, 0, 0]

        slope = jax.grad(lambda d: here.log_density(d[:, None, None])[0])(d)
        return change_of_m, -jnp.trace(jax.jacfwd(b)(d)) - b(d) @ slope

    rng = np.random.default_rng(3)
    way = rng.normal(size=(400, 3))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    r = np.geomspace(1e-3 * np.sqrt(SIGMA2[0]), 6.0 * np.sqrt(SIGMA2[-1]), 400)
    expected, found = jax.jit(jax.vmap(at))(jnp.asarray(r[:, None] * way))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert np.ptp(expected) > 0.1


def test_noise_is_the_map_s_own() -> None:
    """Unit mean variance; of axes and components in their proportions, as fourth moments show."""
    tether = normal(SHAPES["axes"])
    z = np.asarray(tether.noise(jax.random.key(0), (3, 4000, 2)))
    width = 1.0 / np.asarray(tether.stiffness)[:, 0, 0]
    check_mean(z.reshape(3, -1).T ** 2, width / width.mean())
    pull = mixture()
    np.testing.assert_allclose(pull.variance(), WEIGHTS @ SIGMA2, rtol=1e-12)
    z = np.asarray(pull.noise(jax.random.key(1), (3, 20_000, 2)))
    ratio = SIGMA2 / (WEIGHTS @ SIGMA2)
    square = np.sum(z**2, 0).ravel()  # of one site its coordinates go together
    check_mean(square / 3.0, 1.0)
    check_mean(square**2 / 15.0, WEIGHTS @ ratio**2)


def test_latents_follow_a_change() -> None:
    """Of a normal in proportion to each axis's width; of a mixture exactly where all widths change alike."""
    before = normal(SHAPES["axes"])
    after = before._replace(stiffness=before.stiffness * jnp.array([4.0, 1.0, 0.25])[:, None, None])
    x = places(before)
    expected = before.centre + jnp.array([0.5, 1.0, 2.0])[:, None, None] * (x - before.centre)
    np.testing.assert_allclose(before.carried(after, x), expected, rtol=1e-12)
    pull = mixture()
    x = places(pull)
    moved = pull.carried(pull._replace(stiffness=4.0 * pull.stiffness), x)
    np.testing.assert_allclose(moved - pull.centre, 0.5 * (x - pull.centre), rtol=1e-12)


@pytest.mark.by_hand
def test_a_kernel_that_draws_components_leaves_the_mixture_s_posterior() -> None:
    r"""Two sites that attract each other: their distance, by one integral, from chains that began at the data.

    With the data :math:`\delta` apart, :math:`D = X_1 - X_2` has the density
    :math:`e^{-\beta u(|D|)}\sum_{kl} w_k w_l N(D \mid \delta, \sigma_k^2 + \sigma_l^2)`. 4,000 chains in 25 bins.
    """
    potential = ParticlePotential((LennardJones(1.0, 3.0, InversePowers(cutoff=4.0)),), BOX)
    delta, beta, chains = 3.6, 1.7, 4000
    weights, sigma2 = np.array([0.7, 0.3]), np.array([0.01, 0.25])
    centre = np.zeros((3, 2, chains))
    centre[0, 1] = delta
    pull = TetherMixture(
        jnp.asarray(centre),
        jnp.asarray(np.outer(1.0 / sigma2, np.ones(chains))),
        jnp.asarray(np.outer(np.log(weights), np.ones(chains))),
    )
    sampler = particle_sampler(
        2, BOX, Dynamics("hmc", steps=8, first=0.05, longest=0.3, precision="double")
    )
    ready = sampler.prepare(potential, jnp.asarray(beta))
    state = sampler.at(jax.random.key(0), pull.centre)  # type: ignore[misc]

    @jax.jit
    def run(key: jax.Array, state: object) -> object:
        def move(state: object, k: jax.Array) -> tuple[object, None]:
            return sampler.step(k, state, *ready, pull)[0], None

        return jax.lax.scan(move, state, jax.random.split(key, 80))[0]

    x = np.asarray(run(jax.random.key(1), state).x, float)  # type: ignore[attr-defined]
    found = np.linalg.norm(x[:, 0] - x[:, 1], axis=0)

    r = np.linspace(0.5, 9.0, 20_001)
    s = sigma2[:, None, None] + sigma2[None, :, None]
    each = np.exp(-0.5 * (r - delta) ** 2 / s) * -np.expm1(-2.0 * r * delta / s) * s / (r * delta)
    density = np.einsum("k,l,klr->r", weights, weights, each / s**1.5) * r**2
    lennard_jones = np.exp(-beta * np.asarray(potential.pair_energy(jnp.asarray(r))))
    check_frequencies(*binned(found, r, density * lennard_jones))
    with pytest.raises(AssertionError, match="p-value"):  # if sites did not act on each other
        check_frequencies(*binned(found, r, density))


def binned(found: np.ndarray, r: np.ndarray, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts in 25 bins that are equally likely under a density on a grid, and their probabilities."""
    whole = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    edges = np.interp(np.linspace(0.0, 1.0, 26) * whole[-1], whole, r)
    return np.histogram(found, np.r_[0.0, edges[1:-1], np.inf])[0], np.full(25, 1 / 25)
