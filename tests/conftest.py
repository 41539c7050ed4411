"""What holds for every test: double precision, no window, nothing random from run to run."""

from importlib.util import find_spec

import jax

jax.config.update("jax_enable_x64", True)  # before any array exists

import matplotlib  # noqa: E402

matplotlib.use("Agg")

if find_spec("hypothesis"):
    from hypothesis import settings

    # Compilation makes a first example slow, and a failure must come back on the next run.
    settings.register_profile("bayescg", deadline=None, derandomize=True)
    settings.load_profile("bayescg")
