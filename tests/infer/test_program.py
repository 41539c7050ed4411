"""Reading programs: the shipped one and others, written by hand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
from jax import Array
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest

from bayescg.distributions import Boltzmann, Enumeration
from bayescg.infer.marginal import log_marginal
from bayescg.infer.program import Program, ProgramError, read_program
from bayescg.mapping import majority
from bayescg.potentials import SpinPotential
from models import ising
from tests import brute_force
from tests.statistical import check_mean
from tests.systems import BETA, ONE_SIDED

SIZE = len(ONE_SIDED.features)
FRAMES = 3
SPINS = jnp.asarray(np.random.default_rng(0).choice([-1.0, 1.0], (FRAMES, 16)))


def latent(theta: Array, **options: Any) -> Array:
    """The latent site, on eight coarse sites."""
    p = SpinPotential(theta, jnp.asarray(0.2), ONE_SIDED)
    d = Boltzmann(p, BETA, **{"log_partition": Enumeration(), "event_shape": (8,), **options})
    return numpyro.sample("X", d)


def coupling(name: str = "theta") -> Array:
    return numpyro.sample(name, dist.Normal(0.0, 1.0).expand([SIZE]).to_event(1))


def noisy(x: Array | None = None, *, frames: int = 1) -> None:
    """Real-valued data: each child is ``a X`` and noise, whose size is a parameter."""
    theta = coupling()
    a = numpyro.sample("a", dist.Normal(1.0, 1.0))
    s = numpyro.sample("s", dist.LogNormal(0.0, 1.0))
    with numpyro.plate("frame", frames if x is None else len(x)):
        X = latent(theta)
        numpyro.sample("x", dist.Normal(a * jnp.repeat(X, 2, -1), s).to_event(1), obs=x)


def flips_by_site(x: Array | None = None, *, frames: int = 1, bias: Array) -> None:
    """Bits that agree with their parent with a probability of each site; two observed sites."""
    theta = coupling()
    low = jnp.full(8, 0.5)  # an array in a support
    p = numpyro.sample("p", dist.Uniform(low, 1.0).to_event(1))
    with numpyro.plate("frame", frames if x is None else len(x)):
        X = latent(theta)
        up = 0.5 + 0.5 * X * (2.0 * p - 1.0)
        numpyro.sample("x", dist.Bernoulli(up).to_event(1), obs=x)
        numpyro.sample("y", dist.Normal(bias * X**3, 1.0).to_event(1), obs=jnp.ones((1, 8)))


def shipped(prior: str = "normal", **options: Any) -> Callable[..., None]:
    return ising.system(ising.Options(n_f=16, prior=prior, **options)).program


NORMAL_DATA = SPINS + 0.5 * jnp.asarray(np.random.default_rng(1).normal(size=(FRAMES, 16)))
CASES: dict[str, tuple[Callable[..., None], Array, dict[str, Array]]] = {
    "ising": (shipped(), SPINS, {"mu": jnp.asarray(0.3)}),
    "noisy": (noisy, NORMAL_DATA, {}),
    "flips_by_site": (flips_by_site, 0.5 + 0.5 * SPINS[:, :8], {"bias": jnp.asarray(0.7)}),
}
every_case = pytest.mark.parametrize("case", CASES)


def read(case: str) -> tuple[Program, Array, dict[str, Array]]:
    function, x, conditions = CASES[case]
    return read_program(function, x, conditions), x, conditions


def somewhere(program: Program, seed: int = 2) -> Array:
    return 0.5 * jnp.asarray(np.random.default_rng(seed).normal(size=program.size))


@pytest.mark.parametrize(
    ("case", "shapes", "likelihood"),
    [
        ("ising", {"theta_c": (10,), "p0": ()}, ("x",)),
        ("noisy", {"theta": (SIZE,), "a": (), "s": ()}, ("x",)),
        ("flips_by_site", {"theta": (SIZE,), "p": (8,)}, ("x", "y")),
    ],
)
def test_sites(case: str, shapes: dict[str, Any], likelihood: tuple[str, ...]) -> None:
    program, _, _ = read(case)
    assert program.sites.parameters == tuple(shapes)
    assert program.shapes == shapes
    assert program.sites.latent == "X" and not program.sites.latent_observed
    assert program.sites.likelihood == likelihood
    assert program.latent_shape == (8,)
    assert program.size == sum(int(np.prod(s)) for s in shapes.values())
    labels = program.labels
    assert len(set(labels)) == program.size and "" not in labels
    for name, shape in shapes.items():
        at = [labels[i] for i in program.coordinates(name)]
        assert at == ([f"{name}[{j}]" for j in range(shape[0])] if shape else [name])


@pytest.mark.parametrize(
    ("prior", "ard", "improper"),
    [
        ("ard", {"theta_c": (1e-5, 1e-5)}, ()),
        ("flat", {}, ("theta_c",)),
        ("horseshoe", {}, ()),
    ],
)
def test_priors_are_recognised(prior: str, ard: dict[str, Any], improper: tuple[str, ...]) -> None:
    program = read_program(shipped(prior), SPINS, {"mu": jnp.asarray(0.3)})
    assert program.ard == ard and program.improper == improper
    scales = {"theta_c_scale": (), "theta_c_local": (10,), "theta_c_slab": ()}
    names = {**scales, "theta_c_z": (10,)} if prior == "horseshoe" else {"theta_c": (10,)}
    assert program.shapes == {**names, "p0": ()}
    values = program.values(somewhere(program), SPINS, {"mu": jnp.asarray(0.3)})
    assert set(values) == {"theta_c", *names, "p0"}


@every_case
def test_constrain_and_back(case: str) -> None:
    program, _, _ = read(case)
    u = somewhere(program)
    values = program.constrain(u)
    assert {k: v.shape for k, v in values.items()} == program.shapes
    for k, v in values.items():
        assert np.all(np.asarray(program.supports[k](v)))
    np.testing.assert_allclose(program.unconstrain(values), u, rtol=1e-10)
    slope = jax.jacobian(lambda u: ravel_pytree(program.constrain(u))[0])(u)
    expected = np.linalg.slogdet(np.asarray(slope))[1]
    np.testing.assert_allclose(program.log_jacobian(u), expected, rtol=1e-10, atol=1e-12)


@every_case
def test_field_is_the_likelihood(case: str) -> None:
    """Exactly, also where the likelihood is not affine between -1 and +1 (x - a X squared, X^3)."""
    program, x, conditions = read(case)
    u = somewhere(program)
    h, c = jax.jit(program.field)(u, x, conditions)
    assert h.shape == (FRAMES, 8) and c.shape == (FRAMES,)
    for seed in range(3):
        X = jnp.asarray(np.random.default_rng(seed).choice([-1.0, 1.0], (FRAMES, 8)))
        expected = program.log_likelihood(u, X, x, conditions)
        assert expected.shape == (FRAMES,)
        np.testing.assert_allclose(c + jnp.sum(h * X, 1), expected, rtol=1e-12)


def test_densities_are_those_of_the_program() -> None:
    """Prior, likelihood and Boltzmann site of the noisy program, by hand."""
    program, x, conditions = read("noisy")
    u = somewhere(program)
    v = program.constrain(u)
    prior = (
        dist.Normal(0.0, 1.0).log_prob(v["theta"]).sum()
        + dist.Normal(1.0, 1.0).log_prob(v["a"])
        + dist.LogNormal(0.0, 1.0).log_prob(v["s"])
    )
    np.testing.assert_allclose(program.log_prior(u, x, conditions), prior, rtol=1e-12)
    X = SPINS[:, :8]
    expected = dist.Normal(v["a"] * jnp.repeat(X, 2, 1), v["s"]).log_prob(x).sum(1)
    np.testing.assert_allclose(program.log_likelihood(u, X, x, conditions), expected, rtol=1e-12)
    p = program.boltzmann(u, x, conditions).potential
    np.testing.assert_array_equal(p.theta, v["theta"])


def test_marginal_is_a_sum_over_latents() -> None:
    """Eq. 14, summed out state by state, for data that are no spins."""
    program, x, conditions = read("noisy")
    u = somewhere(program)
    p = program.boltzmann(u, x, conditions).potential
    states = brute_force.spins(8)
    log_p = -BETA * brute_force.energies(p)
    log_p = log_p - brute_force.log_sum_exp(log_p)
    likelihood = jax.jit(lambda X: program.log_likelihood(u, X, x, conditions))
    joint = [
        w + np.asarray(likelihood(jnp.broadcast_to(jnp.asarray(X, float), (FRAMES, 8))))
        for w, X in zip(log_p, states, strict=True)
    ]
    expected = brute_force.log_sum_exp(np.stack(joint))
    found = jax.jit(lambda u: log_marginal(program, u, x, conditions))(u)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_sample_fine() -> None:
    program, _, conditions = read("noisy")
    values = {"theta": jnp.zeros(SIZE), "a": jnp.asarray(2.0), "s": jnp.asarray(0.5)}
    u = program.unconstrain(values)
    X = jnp.tile(SPINS[:1, :8], (4_000, 1))
    fine = program.sample_fine(jax.random.key(0), u, X, conditions)
    assert fine.shape == (4_000, 16)
    check_mean(fine, 2.0 * np.repeat(X[0], 2))


def test_a_fixed_latent_is_a_dirac_map() -> None:
    X = majority(SPINS, 2)
    program = read_program(shipped(), SPINS, {"mu": jnp.asarray(0.3)}, {"X": X})
    assert program.sites.latent_observed
    assert program.sites.parameters == ("theta_c", "p0")
    other = program.given({"X": -X})
    np.testing.assert_array_equal(other.fixed["X"], -X)
    np.testing.assert_array_equal(program.fixed["X"], X)


def test_a_fixed_parameter_is_no_parameter() -> None:
    fixed = {"p0": jnp.asarray(0.9)}
    program = read_program(shipped(), SPINS, {"mu": jnp.asarray(0.3)}, fixed)
    assert program.sites.parameters == ("theta_c",) and not program.sites.latent_observed
    u = jnp.zeros(program.size)
    X = majority(SPINS, 2)
    agree = jnp.sum(SPINS == jnp.repeat(X, 2, 1), 1)
    expected = agree * jnp.log(0.9) + (16 - agree) * jnp.log(0.1)
    found = program.log_likelihood(u, X, SPINS, {"mu": jnp.asarray(0.3)})
    np.testing.assert_allclose(found, expected, rtol=1e-12)


# --- what cannot be read ---------------------------------------------------------------------


@dataclass(frozen=True)
class Opaque:
    """An energy that shows no statistics."""

    def __call__(self, x: Array) -> Array:
        return -jnp.sum(x)


def no_latent(x: Array) -> None:
    numpyro.sample("x", dist.Normal(coupling()[0], 1.0), obs=x)


def two_latents(x: Array) -> None:
    theta = coupling()
    X = latent(theta)
    p = SpinPotential(theta, jnp.asarray(0.0), ONE_SIDED)
    Y = numpyro.sample("Y", Boltzmann(p, BETA, log_partition=None, event_shape=(8,)))
    numpyro.sample("x", dist.Normal(jnp.repeat(X + Y, 2), 1.0), obs=x)


def opaque(x: Array) -> None:
    mean = numpyro.sample("mean", dist.Normal(0.0, 1.0))
    d: Any = Boltzmann(Opaque(), BETA, log_partition=None, event_shape=(8,))
    X = numpyro.sample("X", d)
    numpyro.sample("x", dist.Normal(mean + jnp.repeat(X, 2), 1.0), obs=x)


def unobserved(x: Array) -> None:
    latent(coupling())


def no_parameters(x: Array) -> None:
    X = latent(jnp.ones(SIZE))
    numpyro.sample("x", dist.Normal(jnp.repeat(X, 2), 1.0), obs=x)


def discrete_parameter(x: Array) -> None:
    k = numpyro.sample("kind", dist.Bernoulli(0.5))
    X = latent(k * coupling())
    numpyro.sample("x", dist.Normal(jnp.repeat(X, 2), 1.0), obs=x)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (no_latent, r"exactly one latent Boltzmann site, this one has 0\."),
        (two_latents, r"exactly one latent Boltzmann site, this one has 2 \(X, Y\)"),
        (opaque, "potential of site 'X' exposes no natural parameters"),
        (unobserved, "no observed site: pass its data as obs="),
        (no_parameters, "no unobserved parameter site"),
        (discrete_parameter, "must be continuous; these are discrete: kind"),
    ],
)
def test_errors(program: Callable[..., None], message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        read_program(program, SPINS, {})
    assert issubclass(ProgramError, ValueError)  # a bad program is bad input
