"""What every command that computes sets before it does."""

from bayescg.cache import keep_compiled

__all__ = ["start_computing"]


def start_computing() -> None:
    """Double precision, as every published number needs, and compiled code kept for the next command."""
    import jax

    jax.config.update("jax_enable_x64", True)
    keep_compiled()
