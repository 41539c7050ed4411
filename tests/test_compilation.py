"""Loops compile once: twice as many turns compile nothing more."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import pytest

import bayescg as cg
from bayescg.workflow import make_reference

COMPILED = "/jax/core/compile/backend_compile_duration"


@contextmanager
def compilations() -> Iterator[list[str]]:
    """What is compiled meanwhile, a word each."""
    found: list[str] = []

    def hear(event: str, seconds: float, **_: Any) -> None:
        if event == COMPILED:
            found.append(event)

    jax.monitoring.register_event_duration_secs_listener(hear)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(hear)


@pytest.fixture(scope="module")
def lattice() -> tuple[cg.System, Any]:
    data = make_reference("ising", ["n_f=16", "mu=0,0.3", "frames=10"], seed=1)
    return cg.system("ising", data, ratio=2, L2=2, L3=1, prior="normal", prior_scale=1.0), data


def test_the_counter_counts() -> None:
    with compilations() as found:
        jax.jit(lambda a: a * 3.14159 + 2.71828)(1.0)
    assert found


@pytest.mark.slow
def test_iterations_of_mcem(lattice: tuple[cg.System, Any]) -> None:
    """Their number, and that sweeps grow and chains are cooled anew, are no shapes."""
    system, data = lattice
    counts = []
    for iterations in (2, 3, 9):  # the first compiles what any run needs once
        run = cg.mcem(
            system, data, max_iterations=iterations, tolerance=1e-4, free_chains=16, clamped_chains=4,
            weights=False,
        )  # fmt: skip
        with compilations() as found:
            fit = run.run(jax.random.key(0))
        assert len(fit.groups["em_trace"]["u"].values) == iterations
        counts.append(len(found))
    assert 0 < counts[2] <= counts[1]


@pytest.mark.by_hand
def test_members_of_nuts(lattice: tuple[cg.System, Any]) -> None:
    """The second member of a sweep runs in what was compiled for the first."""
    system, data = lattice
    counts = []
    for members in (1, 1, 2):
        some = data.isel(mu=slice(members))
        run = cg.nuts(system, some, chains=2, warmup=5, samples=5)
        with compilations() as found:
            run.run(jax.random.key(0))
        counts.append(len(found))
    # Tables of two members have other shapes than those of one; chains, by far the most, must not be compiled again.
    assert counts[2] - counts[1] < 20


@pytest.mark.by_hand
def test_blocks_of_a_prediction(lattice: tuple[cg.System, Any]) -> None:
    system, data = lattice
    run = cg.mcem(system, data, max_iterations=2, free_chains=16, clamped_chains=4, weights=False)
    fit = run.run(jax.random.key(0))
    counts = []
    for draws in (64, 64, 320):
        with compilations() as found:
            cg.predict(fit, ["magnetization"], draws=draws)
        counts.append(len(found))
    assert counts[2] - counts[1] <= 10  # of arrays that hold all draws, a few
