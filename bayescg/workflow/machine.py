"""What a run's numbers depend on beside its input and the versions of libraries."""

import jax

from bayescg import compiled, devices
from bayescg.cache import processor

__all__ = ["machine"]


def machine() -> dict[str, str]:
    """Devices and kernels in words; numbers are the same to the last bit where both are."""
    return {
        "devices": f"{devices.count()} of {jax.process_count()} processes, {jax.default_backend()}",
        "kernels": f"{'compiled' if compiled.available() else 'JAX'}, {processor()}",
    }
