"""Valid files and the watched process, once a session; the count of mutated inputs at its end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hostile import counting, valid
from tests.hostile.pool import Worker


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.close()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every valid file but those that take a fit."""
    folder = tmp_path_factory.mktemp("valid")
    valid.write_all(folder, fits=False)
    return folder


@pytest.fixture(scope="session")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of fits."""
    folder = tmp_path_factory.mktemp("fitted")
    for name in valid.FITS:
        valid.NETCDF[name][1](folder / name)
    return folder


@pytest.hookimpl
def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table of what came of mutated inputs; of a run without pytest-xdist."""
    lines = counting.table()
    if lines:
        terminalreporter.section("mutated inputs")
        for line in lines:
            terminalreporter.write_line(line)
