"""What the Monte Carlo error of log Z does to a posterior, where it is known: normals with an unknown mean."""

import numpy as np
import pytest

from bayescg.distributions.log_partition.multistate import Multistate, multistate
from bayescg.infer.precision import GROUPS, precision_of
from tests.statistical import check_z

FRAMES, CHAINS, SAMPLES = 50, 40, 100
TERMS = 2


def found(seed: int, shared: float = 0.0) -> tuple[float, float]:
    """``error`` and ``shift`` of one set of samples of exp(e.phi - phi.phi / 2), log Z = e.e / 2, at e = 0.

    :param shared: standard deviation of what all samples of a chain have in common.
    """
    rng = np.random.default_rng(seed)
    phi = rng.normal(size=(SAMPLES, CHAINS, TERMS)) * np.sqrt(1.0 - shared**2)
    phi += shared * rng.normal(size=(CHAINS, TERMS))
    group = np.tile(np.arange(CHAINS) % GROUPS, SAMPLES)
    draws = rng.normal(size=(400, TERMS)) / np.sqrt(FRAMES)  # of the posterior of FRAMES of them
    none = np.zeros((1, TERMS))
    statistics = phi.reshape(1, -1, TERMS)

    def left(g: int) -> Multistate:
        return multistate(none, statistics[:, group != g])

    return tuple(precision_of(left, draws, draws, FRAMES))  # type: ignore[return-value]


@pytest.mark.slow
@pytest.mark.parametrize("shared", [0.0, 0.3])
def test_it_is_the_error_of_the_statistics_mean(shared: float) -> None:
    r"""N frames leave a mean known to :math:`1/\sqrt N`; n samples move it by :math:`\sqrt{N/n}` of that, and samples
    that chains share are worth less. The squares of both parameters' log-posterior errors add up."""
    sets = np.array([found(k, shared) for k in range(12)])
    variance = (1.0 - shared**2) / (SAMPLES * CHAINS) + shared**2 / CHAINS
    # A variance from ten groups has a relative error of sqrt(2/9); a nonlinear rest of a per cent is allowed for.
    expected = TERMS * FRAMES * variance
    error = expected * np.sqrt(2.0 / (TERMS * (GROUPS - 1)) / len(sets) + 0.05**2 / 9)
    check_z(np.mean(sets[:, 0] ** 2), expected, error)
    # No parameter is moved by more than the log posterior is, and one of them by its share at least.
    assert np.all(sets[:, 1] <= sets[:, 0])
    assert np.all(sets[:, 1] >= 0.9 * sets[:, 0] / np.sqrt(TERMS))
