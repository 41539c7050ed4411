"""``python -m benchmarks NAME ...``, with names from ``BENCHMARKS``.

Without a name all run but those ``ASKED`` for, which take an hour and more, or need VOTCA or OpenMM.
"""

import json
import sys

import jax

jax.config.update("jax_enable_x64", True)

from benchmarks import (  # noqa: E402
    accuracy,
    arcg,
    arcg_critics,
    calibration,
    fewer_samples,
    fields,
    laplace,
    learned_log_z,
    methods,
    particles,
    planning,
    posteriors,
    reporting,
    sampler,
    schedules,
    speed,
    startup,
    virtual_solvent,
    votca,
    votca_inverse,
    water,
    water_posterior,
)

BENCHMARKS = {
    "accuracy": accuracy.run,
    "arcg": arcg.run,
    "arcg-critics": arcg_critics.run,
    "arcg-critics-lattice": arcg_critics.lattice,
    "arcg-intervals": arcg.intervals,
    "coverage": calibration.coverage,
    "fewer-samples": fewer_samples.run,
    "fields": fields.run,
    "laplace": laplace.run,
    "learned-log-z": learned_log_z.run,
    "methods": methods.run,
    "methods-posterior": methods.posterior,
    "more-frames": calibration.more_frames,
    "particles": particles.run,
    "plan": planning.run,
    "ranks": calibration.ranks,
    "ranks-laplace": calibration.laplace,
    "posteriors": posteriors.run,
    "posteriors-choice": posteriors.choice,
    "report": reporting.run,
    "sampler": sampler.run,
    "schedules": schedules.run,
    "speed": speed.run,
    "startup": startup.run,
    "virtual-solvent": virtual_solvent.run,
    "votca": votca.run,
    "votca-inverse": votca_inverse.run,
    "water": water.run,
    "water-frames": water.frames,
    "water-intervals": water.intervals,
    "water-posterior": water_posterior.run,
}
ASKED = (
    "arcg",
    "arcg-critics",
    "arcg-intervals",
    "coverage",
    "learned-log-z",
    "methods-posterior",
    "more-frames",
    "particles",
    "plan",
    "ranks",
    "ranks-laplace",
    "posteriors",
    "posteriors-choice",
    "virtual-solvent",
    "votca",
    "votca-inverse",
    "water-frames",
    "water-intervals",
    "water-posterior",
)


def main() -> None:
    """Run the named benchmarks, or all that take minutes and need no other program."""
    names = sys.argv[1:] or [n for n in BENCHMARKS if n not in ASKED]
    unknown = [n for n in names if n not in BENCHMARKS]
    if unknown:
        sys.exit(f"unknown benchmark {unknown[0]!r}; known: {', '.join(BENCHMARKS)}.")
    for name in names:
        print(json.dumps({name: BENCHMARKS[name]()}, indent=1, default=float))


if __name__ == "__main__":
    main()
