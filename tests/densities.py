"""One check of a discrete density: its sum, its support, its errors."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest


def check_log_prob(
    make: Callable[..., Any],
    support: np.ndarray,
    outside: np.ndarray,
    bad: Sequence[tuple[Callable[[], Any], str]],
) -> None:
    """Check a distribution over finitely many values.

    :param make: makes it; takes ``validate_args``.
    :param support: every value, ``(value, 1, ..., *event)`` to broadcast over the batch shape.
    :param outside: a value outside the support.
    :param bad: calls that must raise ``ValueError``, each with what its message must say.
    """
    log_prob = np.asarray(make(validate_args=False).log_prob(support))
    assert log_prob.shape == (len(support), *make(validate_args=False).batch_shape)
    assert not np.any(np.isnan(log_prob))
    np.testing.assert_allclose(np.exp(log_prob).sum(0), 1.0, rtol=1e-12)
    validated = make(validate_args=True)
    np.testing.assert_array_equal(np.asarray(validated.log_prob(support)), log_prob)
    with pytest.warns(UserWarning, match="Out-of-support"):
        assert np.all(np.asarray(validated.log_prob(outside)) == -np.inf)
    for call, message in bad:
        with pytest.raises(ValueError, match=message):
            call()
