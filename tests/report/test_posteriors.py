"""Reports of variational inference and of sequential Monte Carlo: labelled, and doubted where there is doubt."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from bayescg import workflow
from bayescg.infer.smc import Run
from bayescg.infer.smc_run import SMC, TRACE, SMCOptions
from bayescg.infer.svi import Climb, Draws
from bayescg.infer.svi_run import SVI, SVIOptions, _Best
from bayescg.report import write_report
from bayescg.report.case import cases_of
from bayescg.report.sampling import chains
from tests import small_posterior
from tests.report.words import Words

KEY = jax.random.key(0)


def by_svi(khat: float = 0.2, *, settled: bool = True, wide: float = 1.0) -> Any:
    """A fit by variational inference, made up."""
    ours, data = small_posterior.system(), small_posterior.data()
    program, _, _ = small_posterior.read()
    u = wide * np.random.default_rng(0).normal(size=(200, program.size))
    drawn = Draws(u, np.zeros(200), np.zeros(200))
    climb = Climb({}, np.zeros(10), 0.0, 0.01, settled)
    even = np.full(200, -np.log(200.0))
    best = _Best(climb, drawn, even, khat, np.arange(200), (-3.0, 0.1), 0)
    made = SVI(ours, data, SVIOptions())._fit(ours.batch(data), program, [best], KEY, 1.0)
    return workflow.to_inference_data(made, prior_draws=10)


def by_smc(apart: float = 0.0) -> Any:
    """A fit by sequential Monte Carlo, made up; one of its runs lies ``apart`` from the others."""
    ours, data = small_posterior.system(), small_posterior.data()
    program, _, _ = small_posterior.read()
    runs = []
    for c in range(4):
        u = np.random.default_rng(c).normal(size=(200, program.size)) + apart * (c == 0)
        trace = {k: np.zeros(2) for k in TRACE} | {"ess": np.full(2, 0.7)}
        runs.append(Run(u, np.zeros(200), -60.0 + 0.1 * c, -60.0, trace))
    made = SMC(ours, data, SMCOptions(particles=200))
    fit = made._fit(ours.batch(data), program, [runs], KEY, 1.0)
    return workflow.to_inference_data(fit, prior_draws=10)


@pytest.fixture
def page(tmp_path: Path) -> Callable[[Any], str]:
    def made(result: Any) -> str:
        write_report([result], tmp_path / "one.html", ["fit"])
        return Words((tmp_path / "one.html").read_text(encoding="utf-8")).text

    return made


def test_variational_inference_is_labelled(page: Callable[[Any], str]) -> None:
    text = page(by_svi())
    assert "variational inference: a guide fitted to the posterior" in text
    assert "variational, a multivariate normal, Pareto-smoothed resampling" in text
    assert "Converged. The rule: the ELBO of the averaged guide rises by less than 0.1 nats" in text
    assert "evidence lower bound (ELBO) / nats" in text and "a bound from below" in text
    assert (
        "Importance weights unreliable" not in text
        and "Importance weights are unreliable" not in text
    )


def test_a_guide_far_from_the_posterior_is_doubted(page: Callable[[Any], str]) -> None:
    text = page(by_svi(khat=1.4))
    assert "Importance weights unreliable" in text
    assert "the guide is far from the posterior" in text.split("What was fitted")[0]
    assert "Did NOT converge (it ended: steps used up)" in page(by_svi(settled=False))


def test_sequential_monte_carlo_is_labelled(page: Callable[[Any], str]) -> None:
    text = page(by_smc())
    assert "sequential Monte Carlo (SMC): particles led from the prior" in text
    assert "particles led along temperature (SMC), latents summed out exactly" in text
    assert "Converged. The rule: every R-hat between runs is under 1.01" in text
    assert "log evidence / nats" in text and "log evidence, standard error" in text
    assert "Runs of SMC" in text and "R-hat" in text


def test_runs_that_differ_are_doubted(page: Callable[[Any], str]) -> None:
    text = page(by_smc(apart=3.0))
    assert "Did NOT converge (it ended: not mixed)" in text
    assert "runs of SMC differ" in text and "above 1.01" in text
    top = text.split("What was fitted")[0]
    assert "R-hat up to" in top and "raise -M particles or ess" in top
    assert any(
        f"({name}; below 1.01" in top for name in ("p0", "theta_c[field]", "theta_c[pair_1]")
    )


def test_a_posterior_that_runs_away_is_said_at_the_top(page: Callable[[Any], str]) -> None:
    top = page(by_svi(wide=9.0)).split("What was fitted")[0]
    assert "Did NOT converge (it ended: runaway)" in top
    assert "the posterior runs away along" in top and "-s prior, -s prior_scale" in top
    assert "runs away" not in page(by_svi())


def test_there_are_no_chains_of_a_guide() -> None:
    assert chains(cases_of([by_svi()], ["fit"])) is None
