"""What holds for every test: double precision, no window, nothing random from run to run."""

from importlib.util import find_spec
import os
import shutil
import tempfile

import jax

jax.config.update("jax_enable_x64", True)  # before any array exists

import matplotlib  # noqa: E402
import pytest  # noqa: E402

matplotlib.use("Agg")

if find_spec("hypothesis"):
    from hypothesis import settings

    # Compilation makes a first example slow, and a failure must come back on the next run.
    settings.register_profile("bayescg", deadline=None, derandomize=True)
    settings.load_profile("bayescg")

CACHE = "JAX_COMPILATION_CACHE_DIR"


def pytest_configure(config: pytest.Config) -> None:
    """One store of compiled programs for all processes of a run: many tests fit the same ones."""
    if hasattr(config, "workerinput") or CACHE in os.environ:
        return
    folder = tempfile.mkdtemp(prefix="bayescg-compiled-")
    os.environ |= {
        CACHE: folder,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
