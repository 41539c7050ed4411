"""Results that are to be one another's, to the last bit."""

from typing import Any

import numpy as np

from bayescg import results

#: What two runs of one fit may differ in.
TIMES = {"wall_seconds", "created_at"}


def check_alike(one: Any, other: Any) -> None:
    """Every variable of every group and every attribute, but for how long it took and when."""
    assert results.groups(one) == results.groups(other)
    for group in results.groups(one):
        a, b = results.group(one, group), results.group(other, group)
        assert set(a.variables) == set(b.variables)
        for name in a.variables:
            np.testing.assert_array_equal(
                a[name].values, b[name].values, err_msg=f"{group}, {name}"
            )
    known, found = results.attrs(one), results.attrs(other)
    differ = {k for k in {*known, *found} if known.get(k) != found.get(k)}
    assert differ <= TIMES, differ
