"""Compiled code for what XLA does slowly on a CPU, where there is a C++ compiler.

XLA visits pairs of particles by operations on whole arrays; the kernels of this folder keep one configuration, its
tables and its lists in cache, and are ten times as fast for 864 particles. They are compiled when they are first
needed, by ``CXX``, or ``c++``, ``g++`` or ``clang++`` from the path, and kept in ``$XDG_CACHE_HOME/bayescg``
(``~/.cache/bayescg``) for the machine that they were made on. Without a compiler, or with ``BAYESCG_COMPILED=0`` in
the environment, JAX does the same work alone.
"""

import ctypes
from functools import lru_cache
from hashlib import sha256
import logging
import os
from pathlib import Path
import shlex
import shutil
import subprocess
import tempfile

import jax
import jaxlib

from bayescg.cache import folder, processor

__all__ = ["available"]

FOLDER = Path(__file__).parent
KERNELS = {"dynamics": ("forces", "trajectory"), "counts": ("counts",)}  # of each file
FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-ffast-math",
    "-fno-finite-math-only",  # what blew up must be seen as such
    "-fPIC",
    "-shared",
)
WIDE = ("avx512f", "avx512dq", "avx512vl", "avx512bw")
PATIENCE = 300.0  # s, for the compiler

log = logging.getLogger(__name__)


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether there is compiled code here; the first call compiles it and tells XLA of it."""
    if os.environ.get("BAYESCG_COMPILED", "1") == "0" or jax.default_backend() != "cpu":
        return False
    compiler = _compiler()
    if compiler is None:
        log.info("no C++ compiler: particles move by JAX alone, several times slower.")
        return False
    try:
        library = ctypes.cdll.LoadLibrary(str(_library(compiler)))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        log.info("the kernels could not be compiled, particles move by JAX alone: %s", error)
        return False
    for name in (n for names in KERNELS.values() for n in names):
        handler = getattr(library, f"Bayescg{name.capitalize()}")
        jax.ffi.register_ffi_target(f"bayescg_{name}", jax.ffi.pycapsule(handler), platform="cpu")
    return True


def _compiler() -> list[str] | None:
    given = shlex.split(os.environ.get("CXX", ""))
    if given:
        return given
    found = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
    return None if found is None else [found]


def _library(compiler: list[str]) -> Path:
    """The compiled file; made in a place of its own and then moved, since others may be making it as well."""
    instructions = processor()
    # Compilers that are older than the processor know less of it than it says itself.
    wide = [f"-m{flag}" for flag in WIDE if set(WIDE) <= set(instructions.split())]
    command = [*compiler, *FLAGS, *wide, "-isystem", jax.ffi.include_dir()]
    sources = [FOLDER / f"{name}.cc" for name in KERNELS]
    texts = [path.read_text() for path in (*sorted(FOLDER.glob("*.h")), *sources)]
    parts = (*texts, *command, jaxlib.__version__, instructions)
    name = f"kernels-{sha256('|'.join(parts).encode()).hexdigest()[:16]}.so"
    path = folder() / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryDirectory(dir=path.parent) as place:
            made = Path(place) / name
            command += [*map(str, sources), "-o", str(made)]
            subprocess.run(
                command, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE
            )
            os.replace(made, path)
    return path
