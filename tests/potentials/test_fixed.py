"""Given potentials: linear between their points, and beyond them as their kind needs it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayescg.potentials import FixedPair, FixedTable


def test_a_pair_ends_at_zero() -> None:
    q, u = np.array([2.0, 3.0, 4.0, 5.0]), np.array([5.0, 1.0, -1.0, 0.5])
    table = FixedTable.of("pair", q, u)
    r = jnp.array([1.0, 2.0, 2.5, 4.0, 4.5, 5.0, 7.0])
    np.testing.assert_allclose(table(r)[0], [8.5, 4.5, 2.5, -1.5, -0.75, 0.0, 0.0])
    assert table.cutoff == 5.0 and table.names == ("fixed",)
    term = FixedPair(table)
    assert float(-term.natural() @ table(jnp.array(2.5))) == pytest.approx(2.5)
    assert jax.tree.leaves(term) == []
    slope = jax.grad(lambda x: table(x)[0])
    assert (float(slope(2.5)), float(slope(4.5)), float(slope(6.0))) == (-4.0, 1.5, 0.0)


def test_a_pair_is_cut_off_within_the_box() -> None:
    table = FixedTable.of("pair", np.array([2.0, 3.0, 5.0]), np.array([5.0, 1.0, 0.0]), longest=4.0)
    np.testing.assert_allclose(table(jnp.array([2.0, 3.0, 4.0, 4.5]))[0], [4.5, 0.5, 0.0, 0.0])
    assert table.cutoff == 4.0
    with pytest.raises(ValueError, match="has 1 points"):
        FixedTable.of("pair", np.array([5.0, 6.0]), np.zeros(2), longest=4.0)


def test_a_core_that_attracts_is_level() -> None:
    table = FixedTable.of("pair", np.array([2.0, 3.0, 4.0]), np.array([0.0, 1.0, 0.0]))
    np.testing.assert_allclose(table(jnp.array([1.0, 2.0]))[0], 0.0)


def test_a_bond_goes_on_where_it_rises() -> None:
    bond = FixedTable.of("bond", np.array([1.0, 2.0, 3.0]), np.array([2.0, 0.0, 1.0]))
    np.testing.assert_allclose(bond(jnp.array([0.0, 1.5, 3.0, 5.0]))[0], [4.0, 1.0, 1.0, 3.0])
    falling = FixedTable.of("bond", np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.5]))
    np.testing.assert_allclose(falling(jnp.array([0.0, 5.0]))[0], [0.0, 0.5])
    assert np.isinf(bond.cutoff)


@pytest.mark.parametrize("last", [175.0, 180.0])
def test_a_dihedral_goes_round(last: float) -> None:
    q = np.radians(np.arange(-180.0, last + 1.0, 5.0))
    table = FixedTable.of("dihedral", q, np.cos(q))
    phi = np.radians([-180.0, -177.5, 0.0, 177.5, 180.0])
    half = 0.5 * (np.cos(phi[0]) + np.cos(np.radians(175.0)))
    np.testing.assert_allclose(table(jnp.asarray(phi))[0], [-1.0, half, 1.0, half, -1.0])
