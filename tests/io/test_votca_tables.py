"""Tables of VOTCA: distributions and potentials in this package's units, and what is refused with its line."""

from pathlib import Path

import numpy as np
import pytest

from bayescg.io.votca import read_potential, read_table, read_target
from tests import votca_project as project
from tests.io.votca import put


def test_an_rdf(tmp_path: Path) -> None:
    path = put(tmp_path, "t", "#c\n@ c\n\n0.25 0.5 o\n0.26 1.0 i\n0.27 nan u\n")
    found = read_target(path, "pair", types=("B", "A"), span=(2.4, 9.0))
    np.testing.assert_allclose(found.q, [2.5, 2.6])
    np.testing.assert_allclose(found.values, [0.5, 1.0])
    assert (found.name, found.types, found.norm, found.span) == (
        "A_B",
        ("A", "B"),
        "n2",
        (2.4, 9.0),
    )


def test_a_bond_becomes_a_density(tmp_path: Path) -> None:
    """0.25 nm with probability 3/4 and 0.26 nm with 1/4, a density per angstrom of 0.1 angstrom."""
    path = put(tmp_path, "t", "0.25 3 i\n0.26 1 i\n")
    said: list[str] = []
    found = read_target(path, "bond", "b", say=said.append)
    np.testing.assert_allclose(found.values, [7.5, 2.5])
    assert len(said) == 1 and "summed to 0.04 per nm" in said[0]


def test_a_normalised_angle_stays(tmp_path: Path) -> None:
    path = put(tmp_path, "t", "1.0 2.0\n1.25 1.0\n1.5 1.0\n")
    found = read_target(path, "angle", "a", say=pytest.fail)
    np.testing.assert_allclose(found.values, [2.0, 1.0, 1.0])
    np.testing.assert_allclose(found.q, [1.0, 1.25, 1.5])


def test_a_potential(tmp_path: Path) -> None:
    path = put(tmp_path, "t", "0.3 4.184 0.1 i\n0.4 -8.368 0.1 i\n")
    found = read_potential(path, "pair", types=("A", "A"))
    np.testing.assert_allclose(found.q, [3.0, 4.0])
    np.testing.assert_allclose(found.values, [1.0, -2.0])
    third = read_table(path).third
    assert third is not None and third.tolist() == [0.1, 0.1]
    of_gromacs = read_potential(path, "angle", "a1", degrees=True, factor=2.0)
    np.testing.assert_allclose(of_gromacs.q, np.radians([0.3, 0.4]))
    np.testing.assert_allclose(of_gromacs.values, [2.0, -4.0])


def test_a_grid_without_its_rounding(tmp_path: Path) -> None:
    x = np.linspace(0.0, 3.1415, 315)
    path = put(tmp_path, "t", project.table(x, np.sin(x)))
    found = read_target(path, "angle", "a")
    np.testing.assert_allclose(np.diff(found.q), 3.1415 / 314, rtol=1e-12)


def test_noise_below_zero_is_said(tmp_path: Path) -> None:
    path = put(tmp_path, "t", "0.1 -1e-7\n0.2 1.0\n0.3 1.0\n")
    said: list[str] = []
    assert read_target(path, "pair", types=("A", "A"), say=said.append).values[0] == 0.0
    assert len(said) == 1 and "1 values are negative, down to -1e-07" in said[0]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "holds 0 rows"),
        ("0.1 1 i\n", "holds 1 rows"),
        ("0.1 1 i\n0.2 x i\n", "line 2: '0.2 x i' is no row"),
        ("0.1 1 i\n0.2 i\n", "line 2: '0.2 i' is no row"),
        ("0.1 1 2 3 4 i\n", "line 1: .* is no row"),
        ("0.1 1 i\n0.1 2 i\n", "line 2: x is 0.1 after 0.1; it must grow"),
        ("0.1 1 i\n0.2 2 3 i\n", "line 2: 3 numbers after rows of 2"),
        ("0.1 nan i\n0.2 2 i\n", "line 1: y is nan, and its flag i"),
        ("0.1 1 i\n0.2 0 u\n0.3 1 i\n", "line 2: undefined"),
        ("0.1 1 u\n0.2 0 u\n0.3 1 u\n", "only undefined rows"),
        ("0.1 1 u\n0.2 0 i\n0.3 1 u\n", "one defined row"),
        ("0.1 1\n0.2 1\n0.4 1\n", "line 2: x is not evenly spaced"),
        ("0.1 -1\n0.2 1\n0.3 1\n", "line 1: -1 is negative"),
        ("0.1 0\n0.2 0\n0.3 0\n", "zero everywhere"),
    ],
)
def test_a_wrong_table(tmp_path: Path, text: str, complaint: str) -> None:
    path = put(tmp_path, "t.tgt", text)
    with pytest.raises(ValueError, match=complaint) as error:
        read_target(path, "pair", types=("A", "A"))
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_table(tmp_path / "no")
    with pytest.raises(ValueError, match="is a folder"):
        read_table(tmp_path)
    with pytest.raises(ValueError, match="kind is 'improper'"):
        read_target(put(tmp_path, "t", "0.1 1\n0.2 1\n"), "improper")
