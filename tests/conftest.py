"""What holds for every test: double precision, no window, nothing random from run to run."""

from importlib.util import find_spec
import signal
import tempfile
from typing import Any

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

COMPILED = "compiled"
FOLDER = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """One store of compiled programs for all workers of a run, and for the next run: many tests fit the same ones.

    Not by the environment: commands that tests start would say on stderr where they found a program.
    """
    given = getattr(config, "workerinput", None)
    if given is None:
        kept = getattr(config, "cache", None)  # none under -p no:cacheprovider
        if kept is None:
            spare = tempfile.TemporaryDirectory()
            config.add_cleanup(spare.cleanup)
        config.stash[FOLDER] = spare.name if kept is None else str(kept.mkdir(COMPILED))
    folder = config.stash[FOLDER] if given is None else given[COMPILED]
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Tests started in the background ignore Ctrl-C, and so would the commands that they interrupt.
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is run by hand is slow."""
    for item in items:
        if item.get_closest_marker("by_hand"):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist where the store is."""
    node.workerinput[COMPILED] = node.config.stash[FOLDER]
