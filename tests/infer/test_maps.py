r"""Maps with several variances, inferred: two sites on a spring, whose likelihood is known in closed form.

With :math:`U = \theta |X_1 - X_2|^2` the difference of the latents is normal with variance :math:`1/(2\beta\theta)`,
their centre is anywhere, and that of the data has the variance of the latents' and twice that of the map (for a
mixture, a mixture over the components of both): the convolution of the two.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from scipy import optimize

from bayescg.distributions import Around, Boltzmann
from bayescg.infer.estimates import Reader, estimate, likelihood_coordinates, start_chains
from bayescg.infer.laplace import laplace
from bayescg.infer.marginal import check_factorises
from bayescg.infer.mcem import run_mcem
from bayescg.infer.program import Program, read_program
from bayescg.infer.schedules import Newton
from bayescg.potentials import LinearPair, ParticlePotential
from bayescg.samplers import Dynamics, particle_sampler
from bayescg.system import Batch
from bayescg.units import beta_of
from tests.statistical import check_z

BOX = (80.0,) * 3
BETA = beta_of(300.0)
SPRING = 8.0  # angstrom^2, variance of the difference of latents along an axis
THETA = 0.5 / (BETA * SPRING)
KINDS = ["anisotropic", "mixture"]
TRUTH: dict[str, dict[str, Any]] = {
    "anisotropic": {"sigma2": np.array([0.8, 2.0, 5.0])},
    "mixture": {"sigma2": np.array([0.5, 9.0]), "weights": np.array([0.65, 0.35])},
}
FRAMES = {"anisotropic": 300, "mixture": 600}


@dataclass(frozen=True)
class Square:
    """The square of the distance; nothing in these tests ever is as far apart as the cut-off."""

    names: tuple[str, ...] = ("r^2",)
    cutoff: float = 35.0
    scale: float = 1.0

    def __call__(self, r: jax.Array) -> jax.Array:
        return (r * r)[None]


def program(x: jax.Array | None = None, *, frames: int = 1, kind: str) -> None:
    prior = dist.Normal(THETA, 0.05 * THETA).expand([1]).to_event(1)
    theta = numpyro.sample("theta_c", prior)
    around = Around(kind, BOX, 1.0, spread=1.5, ratio=8.0)()  # type: ignore[arg-type]
    with numpyro.plate("frame", frames if x is None else len(x)):
        p_c = Boltzmann(
            ParticlePotential((LinearPair(theta, Square()),), BOX),
            BETA,
            log_partition=None,
            event_shape=(2, 3),
            support=dist.constraints.real,
        )
        X = numpyro.sample("X", p_c)
        numpyro.sample("x", around(X), obs=x)


@cache
def drawn(kind: str) -> tuple[Program, jax.Array, np.ndarray]:
    """The program, the truth in its coordinates, and data that the program itself draws, ``(frame, site, axis)``."""
    rng = np.random.default_rng(3)
    count = FRAMES[kind]
    half = 0.5 * np.sqrt(SPRING) * rng.normal(size=(count, 1, 3))
    X = jnp.asarray(rng.uniform(30.0, 50.0, (count, 1, 3)) + half * np.array([[1.0], [-1.0]]))
    p = read_program(partial(program, kind=kind), X, {})
    truth = p.unconstrain({"theta_c": jnp.full(1, THETA), **jax.tree.map(jnp.asarray, TRUTH[kind])})
    return p, truth, np.asarray(p.sample_fine(jax.random.key(4), truth, X, {}))


def log_likelihood(p: Program, u: jax.Array, x: jax.Array) -> jax.Array:
    """In closed form."""
    values = p.constrain(u)
    apart = x[:, 0] - x[:, 1]
    spring = 0.5 / (BETA * values["theta_c"][0])
    sigma2 = values["sigma2"]
    if "weights" not in values:
        return jnp.sum(dist.Normal(0.0, jnp.sqrt(spring + 2.0 * sigma2)).log_prob(apart))
    variance = spring + sigma2[:, None, None] + sigma2[:, None]
    parts = jnp.sum(dist.Normal(0.0, jnp.sqrt(variance[..., None])).log_prob(apart), -1)
    log_w = jnp.log(values["weights"])
    both = log_w[:, None, None] + log_w[:, None]
    return jnp.sum(jax.nn.logsumexp(both + parts, axis=(0, 1)))


def log_posterior(p: Program, u: jax.Array, x: jax.Array) -> jax.Array:
    """Whose mode MC-EM looks for: of the logarithms of what is positive."""
    prior = p.log_prior(u, x, {}) + p.log_jacobian(u, p.free_modes)
    return log_likelihood(p, u, x) + prior


def parts(p: Program, x: np.ndarray, sampler: Any) -> Reader:
    free = particle_sampler(2, BOX, DYNAMICS[0])
    return Reader(p, free, sampler, likelihood_coordinates(p, jnp.asarray(x), {}), thin=3)


DYNAMICS = [
    Dynamics(kind, steps=8, first=0.5, longest=4.0, precision="double")  # type: ignore[arg-type]
    for kind in ("langevin", "hmc")
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_maps_are_ones_that_latents_can_be_sampled_under(kind: str) -> None:
    p, truth, x = drawn(kind)
    check_factorises(p, jnp.asarray(x[:4]), {})
    values = p.constrain(truth)
    for name, known in TRUTH[kind].items():
        np.testing.assert_allclose(values[name], known, rtol=1e-10)
    assert set(likelihood_coordinates(p, jnp.asarray(x[:4]), {})) == {
        i for name in TRUTH[kind] for i in p.coordinates(name)
    }


@pytest.mark.by_hand
@pytest.mark.parametrize("kind", KINDS)
def test_score_and_information(kind: str) -> None:
    """Off the mode, against derivatives of the closed form: the estimates that MC-EM's steps are made of.

    Errors are those of ten runs one after the other. Without Stein's identity the score has the same mean, and more
    noise.
    """
    p, truth, x = drawn(kind)
    x = x[:60]
    rng = np.random.default_rng(5)
    u = truth + 0.2 * jnp.asarray(rng.normal(size=p.size)).at[p.coordinates("theta_c")].set(0.0)
    exact: Callable[[jax.Array], jax.Array] = lambda v: log_likelihood(p, v, jnp.asarray(x))  # noqa: E731
    latent = particle_sampler(2, BOX, DYNAMICS[1])
    noise = []
    for sampler in (latent, latent._replace(force=None)):
        reader = parts(p, x, sampler)
        chains = start_chains(reader, jax.random.key(0), jnp.asarray(x), 200, 8)
        run = jax.jit(lambda k, c, r=reader: estimate(r, k, u, c, jnp.asarray(x), {}, 60))
        _, chains = run(jax.random.key(1), chains)
        found = []
        for repeat in range(10):
            one, chains = run(jax.random.key(2 + repeat), chains)
            found.append(one)
        scores = np.array([e.score for e in found])
        observed = np.array([e.observed for e in found])
        error = scores.std(0, ddof=1) / np.sqrt(len(found))
        check_z(scores.mean(0), jax.grad(exact)(u), error, len(found) - 1)
        rough = observed.std(0, ddof=1) / np.sqrt(len(found))
        at = np.triu_indices(p.size)
        check_z(observed.mean(0)[at], -jax.hessian(exact)(u)[at], rough[at], len(found) - 1)
        assert not np.any([e.failed for e in found])
        noise.append(np.array([np.sqrt(np.diag(e.noise)) for e in found]).mean(0)[reader.fine])
    assert np.all(noise[0] < 0.8 * noise[1])


@pytest.mark.by_hand
@pytest.mark.parametrize("kind", KINDS)
def test_what_made_the_data_is_found(kind: str) -> None:
    """By MC-EM from elsewhere: the mode of the closed form, within what the stopping rule lets pass; its curvature;
    and the truth within five posterior standard deviations of it (false failures: 3e-6).

    The rule: steps below 0.2 standard deviations, each with an error below 0.1.
    """
    p, truth, x = drawn(kind)
    value = jax.jit(jax.value_and_grad(lambda v: -log_posterior(p, v, jnp.asarray(x))))
    best = optimize.minimize(value, np.asarray(truth), jac=True, method="BFGS", tol=1e-8)
    precision = np.asarray(jax.hessian(lambda v: -log_posterior(p, v, jnp.asarray(x)))(best.x))
    sd = np.sqrt(np.diag(np.linalg.inv(precision)))
    assert np.all(np.abs(np.asarray(truth) - best.x) < 5.0 * sd)
    start = np.asarray(truth) + np.where(np.arange(p.size) == p.coordinates("theta_c")[0], 0.0, 0.7)
    found = run_mcem(
        partial(program, kind=kind),
        particle_sampler(2, BOX, DYNAMICS[0]),
        Batch(x[None], {}, None, None),
        jax.random.key(1),
        schedule=Newton(
            free_chains=64, clamped_chains=4, cooling=0.0, growth=1.0, sweeps=12, max_sweeps=96
        ),
        thin=3,
        patience=2,
        information=240,
        start=start[None],
        latent_sampler=particle_sampler(2, BOX, DYNAMICS[1]),
    )
    assert found.converged.all()
    np.testing.assert_array_less(np.abs(found.u[0] - best.x), 0.5 * sd)
    normal = laplace(p, found.estimates, found.u, x[None], {}, "observed")
    width = np.sqrt(np.diag(np.linalg.inv(normal.precision[0])))
    np.testing.assert_allclose(width, sd, rtol=0.25)
