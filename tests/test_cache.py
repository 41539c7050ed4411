"""What is compiled is kept for the next process, and where it cannot be, nothing breaks."""

import os
from pathlib import Path
import subprocess
import sys

CODE = """
from bayescg.cli.computing import start_computing
start_computing()
import jax, jax.numpy as jnp
hits = []
jax.monitoring.register_event_listener(lambda event, **_: hits.append(event))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
x = jax.jit(lambda a: jnp.linalg.solve(a + jnp.eye(3), jnp.ones(3)))(jnp.ones((3, 3)))
print(hits.count("/jax/compilation_cache/cache_hits"), x.dtype, *x.tolist())
"""


def ran(**environment: str) -> list[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    where = inherited | {"JAX_PLATFORMS": "cpu"} | environment
    done = subprocess.run(
        [sys.executable, "-c", CODE], env=where, check=True, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_the_second_process_finds_what_the_first_compiled(tmp_path: Path) -> None:
    first, second = (ran(XDG_CACHE_HOME=str(tmp_path)) for _ in range(2))
    assert int(first[0]) == 0 and int(second[0]) > 0
    assert first[1:] == second[1:] and first[1] == "float64"
    assert list(tmp_path.glob("bayescg/xla-*/*"))


def test_a_folder_of_ones_own_and_none(tmp_path: Path) -> None:
    own = tmp_path / "own"
    ran(XDG_CACHE_HOME=str(tmp_path), JAX_COMPILATION_CACHE_DIR=str(own))
    assert list(own.iterdir()) and not (tmp_path / "bayescg").exists()
    ran(XDG_CACHE_HOME=str(tmp_path), JAX_ENABLE_COMPILATION_CACHE="false")
    assert not (tmp_path / "bayescg").exists()
    no_folder = tmp_path / "file"
    no_folder.touch()
    assert ran(XDG_CACHE_HOME=str(no_folder))[1] == "float64"
