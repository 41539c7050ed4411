"""Runs after the others of this folder: the slow lane breaks at least 5,000 different inputs."""

import os

import pytest

from tests.hostile import counting
from tests.hostile.cases import CASES
from tests.hostile.commands import LINES

LEAST = 5000
#: Inputs whose reader answers in a new process only, after one that had read many broken files: HDF5 and MDAnalysis
#: keep what such files leave behind.
ALONE = 0.01


@pytest.mark.by_hand
def test_there_were_thousands() -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        pytest.skip("workers count by themselves")
    total = counting.totals()
    if len(total) < len(CASES) or counting.budget(True) < counting.LONG:
        pytest.skip("not all of the slow lane was run")
    inputs = sum(found.total() - found["alone"] for found in total.values())
    assert inputs >= LEAST, f"{len(CASES)} readers and {len(LINES)} commands"
    assert sum(found["alone"] for found in total.values()) <= ALONE * inputs
