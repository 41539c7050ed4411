"""Where compiled code is kept between runs, for the machine that it was made on.

A home folder may be shared by machines whose processors know different instructions, so there is a folder for each.
"""

from hashlib import sha256
import os
from pathlib import Path
import platform

__all__ = ["folder", "keep_compiled", "processor"]

LEAST = 0.2  # s of compilation, below which nothing is kept
MOST = 1 << 30  # bytes; what was used longest ago goes first


def folder() -> Path:
    """``$XDG_CACHE_HOME/bayescg``, else ``~/.cache/bayescg``; it need not be there yet."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bayescg"


def processor() -> str:
    """What this machine's instructions are."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def keep_compiled() -> None:
    """Have JAX keep what it compiles, unless its own environment variables say where or that it should not."""
    import jax

    if {"JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"} & set(os.environ):
        return
    try:
        place = folder() / f"xla-{sha256(processor().encode()).hexdigest()[:16]}"
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (OSError, RuntimeError):  # no home, or none to write to: every run compiles
        return
    if not os.access(place, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", str(place))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST)
    jax.config.update("jax_compilation_cache_max_size", MOST)
