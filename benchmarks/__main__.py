"""``python -m benchmarks [accuracy|laplace|schedules|speed]``."""

import json
import sys

import jax

jax.config.update("jax_enable_x64", True)

from benchmarks import accuracy, laplace, schedules, speed  # noqa: E402

BENCHMARKS = {
    "accuracy": accuracy.run,
    "laplace": laplace.run,
    "schedules": schedules.run,
    "speed": speed.run,
}


def main() -> None:
    """Run the named benchmarks, or all."""
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [n for n in names if n not in BENCHMARKS]
    if unknown:
        sys.exit(f"unknown benchmark {unknown[0]!r}; known: {', '.join(BENCHMARKS)}.")
    for name in names:
        print(json.dumps({name: BENCHMARKS[name]()}, indent=1, default=float))


if __name__ == "__main__":
    main()
