"""Importing the package costs nothing: no array, no backend, none of the heavy libraries."""

import os
import subprocess
import sys

import pytest

HEAVY = ("arviz", "matplotlib")

# An array needs a backend, so where no backend was started no array was made.
NO_BACKEND = """
import sys
if "jax" in sys.modules:
    from jax._src import xla_bridge
    assert not xla_bridge._backends, f"a backend was started: {list(xla_bridge._backends)}"
"""
EVERY_MODULE = """
import importlib, pkgutil
import bayescg
for module in pkgutil.walk_packages(bayescg.__path__, "bayescg."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def none_of(*names: str) -> str:
    return f"""
import sys
found = [name for name in {names!r} if name in sys.modules]
assert not found, f"imported: {{found}}"
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def test_import_starts_no_backend() -> None:
    done = run("import bayescg\n" + NO_BACKEND)
    assert done.returncode == 0, done.stderr


def test_import_brings_nothing_heavy() -> None:
    done = run("import bayescg\n" + none_of(*HEAVY))
    assert done.returncode == 0, done.stderr


def test_command_line_brings_nothing_heavy() -> None:
    """``bayescg --help`` must answer at once."""
    done = run("import bayescg.cli\n" + none_of("jax", *HEAVY))
    assert done.returncode == 0, done.stderr


def test_no_module_starts_a_backend() -> None:
    done = run(EVERY_MODULE + NO_BACKEND)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("offence", "check", "complaint"),
    [
        ("import jax.numpy as jnp\njnp.zeros(1)\n", NO_BACKEND, "a backend was started"),
        ("import matplotlib\n", none_of(*HEAVY), "imported: ['matplotlib']"),
    ],
)
def test_an_offence_is_seen(offence: str, check: str, complaint: str) -> None:
    done = run(offence + check)
    assert done.returncode != 0
    assert complaint in done.stderr


def test_public_functions_win_over_modules_of_the_same_name() -> None:
    code = (
        "import bayescg.predict, bayescg.system, bayescg.cli, bayescg.workflow, bayescg as cg\n"
        "assert callable(cg.predict) and callable(cg.system) and callable(cg.mcem)\n"
        "from bayescg.predict import posterior_predictive"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
