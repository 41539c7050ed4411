"""Chains in blocks are those of ``numpyro.infer.MCMC`` to rounding, and say how far they are."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC, NUTS
import pytest

from bayescg.infer.checkpoint import NOWHERE, keeping, place
from bayescg.infer.numpyro_chains import EXTRA, NumPyroChains, least_effective

Y = jax.random.normal(jax.random.key(3), (2, 20)) + 1.0
WARMUP, SAMPLES = 70, 60
FEW = 25  # transitions over which rounding has not yet grown


def program(y: Any, *, scale: Any) -> None:
    width = numpyro.sample("width", dist.LogNormal(0.0, 1.0))
    place = numpyro.sample("place", dist.Normal(jnp.zeros(2), scale))
    with numpyro.plate("datum", y.shape[0]):
        numpyro.sample("y", dist.Normal(place.sum(), width), obs=y)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chains", "dense"),
    [(1, False), (3, False), pytest.param(3, True, marks=pytest.mark.by_hand)],
)
def test_blocks_are_numpyro_s_own_chains(chains: int, dense: bool) -> None:
    """For two data sets one after the other, of which the second finds all compiled."""
    blocks = NumPyroChains(program, FEW, dense_mass=dense)
    for y, k in zip(Y, jax.random.split(jax.random.key(1)), strict=True):
        keys = jax.random.split(k, chains) if chains > 1 else k[None]
        given = {"scale": jnp.array(2.0)}
        sites, seen = blocks.run(keys, (y,), given, samples=FEW, begin=None, at_place=NOWHERE)
        whole = MCMC(
            NUTS(program, target_accept_prob=0.9, dense_mass=dense),
            num_warmup=FEW,
            num_samples=FEW,
            num_chains=chains,
            chain_method="vectorized",
            progress_bar=False,
            jit_model_args=True,
        )
        whole.run(keys if chains > 1 else k, y, extra_fields=EXTRA, scale=jnp.array(2.0))
        for name, expected in whole.get_samples(group_by_chain=True).items():
            np.testing.assert_allclose(sites[name], expected, rtol=1e-6, atol=1e-8)
        fields = whole.get_extra_fields(group_by_chain=True)
        for name in EXTRA:
            np.testing.assert_allclose(seen[name], fields[name], rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_what_is_told(tmp_path: Path) -> None:
    """Warm-up first, then draws with what they are worth; a run that was cut off between goes on to the same draws."""
    told: list[tuple[str, float, dict[str, float]]] = []
    blocks = NumPyroChains(program, WARMUP)
    keys = jax.random.split(jax.random.key(2), 2)

    def run(at: Any, tell: Any) -> Any:
        given = {"scale": jnp.array(2.0)}
        return blocks.run(keys, (Y[0],), given, samples=SAMPLES, begin=None, at_place=at, tell=tell)

    sites, seen = run(NOWHERE, lambda *word: told.append(word))
    assert [(stage, round(done, 3)) for stage, done, _ in told] == [
        ("warm-up", 0.385),
        ("warm-up", 0.538),
        ("nuts", 0.923),
        ("nuts", 1.0),
    ]
    last = told[-1][2]
    assert last["divergences"] == seen["diverging"].sum()
    assert last["acceptance"] == pytest.approx(seen["accept_prob"][:, 50:].mean())
    u = np.concatenate([np.log(sites["width"])[..., None], sites["place"]], -1)
    assert last["effective"] == pytest.approx(least_effective(u), rel=0.2)
    assert 5.0 < last["effective"] < 2 * 60 * 3

    def cut(stage: str, done: float, numbers: dict[str, float]) -> None:
        if stage == "nuts":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), keeping(tmp_path / "x", {}):
        run(place("chains"), cut)
    with keeping(tmp_path / "x", {}, resume=True):
        assert place("chains").resumed()[0] == 70
    with keeping(tmp_path / "x", {}, resume=True):
        again, _ = run(place("chains"), lambda *word: None)
    for name, expected in sites.items():
        np.testing.assert_array_equal(again[name], expected)


def test_the_least_effective_coordinate() -> None:
    """Independent draws are worth what they are, what does not move nothing known, and few draws tell nothing."""
    free = np.random.default_rng(0).normal(size=(4, 500, 2))
    slow = np.repeat(free[:, ::10], 10, 1)
    both = np.concatenate([free, slow], -1)
    assert 1500 < least_effective(free) < 2600
    assert 100 < least_effective(both) < 400
    assert np.isnan(least_effective(np.ones((4, 500, 1))))
    assert np.isnan(least_effective(free[:, :3]))
