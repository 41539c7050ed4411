"""Do the tests see wrong code? A copy of the package is made wrong in one place after the other: a sign, a factor, an
off-by-one; the tests named beside each have to fail on it, and to pass on the copy as it is.

python -m tests.mutations            all, some ten minutes
python -m tests.mutations rdf hmc    some
"""

from dataclasses import dataclass
import os
from pathlib import Path
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutation:
    """One place that is made wrong.

    :param path: the file, under ``bayescg/``.
    :param right: what stands there, once.
    :param wrong: what is put there.
    :param tests: what should see it: a file of the default lane, or one test of either.
    """

    path: str
    right: str
    wrong: str
    tests: str


MUTATIONS = {
    "lennard-jones": Mutation(  # a factor of two in epsilon
        "potentials/pair.py",
        "4.0 * jnp.asarray(self.epsilon) * jnp.stack",
        "2.0 * jnp.asarray(self.epsilon) * jnp.stack",
        "tests/potentials/test_pair.py",
    ),
    "three-body": Mutation(  # every triple twice
        "potentials/three_body.py",
        "return 0.5 * jnp.sum(total, 0)",
        "return jnp.sum(total, 0)",
        "tests/potentials/test_three_body.py",
    ),
    "rdf": Mutation(  # N(N+1)/2 pairs
        "observables/liquid.py",
        "sites - 1 if self.norm",
        "sites + 1 if self.norm",
        "tests/observables/test_liquid.py",
    ),
    "spin-flip": Mutation(  # agreement counted as disagreement
        "distributions/coarse_to_fine.py",
        "agree = 0.5 * (n_f + jnp.sum",
        "agree = 0.5 * (n_f - jnp.sum",
        "tests/distributions/test_likelihood_priors.py",
    ),
    "transfer": Mutation(  # the next state without its shift
        "potentials/transfer_matrix.py",
        "matrix.at[s, (2 * s + bit) % states]",
        "matrix.at[s, (s + bit) % states]",
        "tests/potentials/test_exact.py",
    ),
    "hmc": Mutation(  # a rejected momentum that is not turned round
        "samplers/particles.py",
        "v_back = -v",
        "v_back = v",
        "tests/samplers/test_particles.py::test_a_rejected_trajectory_turns_round",
    ),
    "newton": Mutation(  # uphill
        "infer/updates.py",
        "score = beta * jacobian.T @ (target.mean - mean)",
        "score = beta * jacobian.T @ (mean - target.mean)",
        "tests/limits/test_matching.py",
    ),
    "fisher": Mutation(  # one beta too few
        "infer/estimates.py",
        "fisher = frames * beta**2 * slope.T",
        "fisher = frames * beta * slope.T",
        "tests/infer/test_mcem.py::test_the_observed_information_is_the_exact_one",
    ),
    "evidence": Mutation(  # the error of one run for that of the mean
        "infer/evidence.py",
        ".std(0, ddof=1) / root\n    return value",
        ".std(0, ddof=1)\n    return value",
        "tests/infer/test_evidence.py",
    ),
    "discrepancy": Mutation(  # what data and prediction share is added, not taken off
        "predict/discrepancy.py",
        "self.data_variance - 2.0 * self.covariance",
        "self.data_variance + 2.0 * self.covariance",
        "tests/test_discrepancy.py",
    ),
    "blocking": Mutation(  # one block too few
        "observables/blocking.py",
        "even = len(x) // 2 * 2",
        "even = len(x) // 2 * 2 - 2",
        "tests/observables/test_blocking.py",
    ),
    "gromacs": Mutation(  # kJ/mol/angstrom for kJ/mol/nm
        "io/export/gromacs.py",
        "u, f = e.energy(r) * KCAL, e.force(r) * KCAL / NM",
        "u, f = e.energy(r) * KCAL, e.force(r) * KCAL",
        "tests/io/test_export_formats.py",
    ),
    "chains": Mutation(  # the last transition of a block is lost
        "infer/numpyro_chains.py",
        "part = jax.tree.map(lambda a, size=size: np.asarray(a[:size]), seen)",
        "part = jax.tree.map(lambda a, size=size: np.asarray(a[: size - 1]), seen)",
        "tests/infer/test_numpyro_chains.py::test_blocks_are_numpyro_s_own_chains[1-False]",
    ),
}


def passes(copy: Path, tests: list[str]) -> bool:
    """Whether tests pass on a copy; the package is taken from there."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")
    words = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    if any("::" in test for test in tests):
        words += ["-m", "slow or not slow"]
    done = subprocess.run(words, cwd=copy, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit(f"the tests did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 0


def main(names: list[str]) -> int:
    """Try each; the number that no test saw."""
    unknown = set(names) - set(MUTATIONS)
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(MUTATIONS)}.")
    chosen = {n: MUTATIONS[n] for n in names or MUTATIONS}
    unseen = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        copy.mkdir()
        for name in ("bayescg", "models", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("data", "docs", "notebooks", "benchmarks", "pyproject.toml", "README.md"):
            (copy / name).symlink_to(ROOT / name)
        needed = sorted({m.tests for m in chosen.values()})
        single = [t for t in needed if "::" in t]
        if not all(passes(copy, t) for t in (single, sorted({*needed} - {*single})) if t):
            sys.exit("the tests fail on the package as it is.")
        for name, mutation in chosen.items():
            path = copy / "bayescg" / mutation.path
            text = path.read_text(encoding="utf-8")
            if text.count(mutation.right) != 1:
                sys.exit(f"{name}: {mutation.path} does not hold {mutation.right!r} once.")
            path.write_text(text.replace(mutation.right, mutation.wrong), encoding="utf-8")
            began = time.monotonic()
            seen = not passes(copy, [mutation.tests])
            path.write_text(text, encoding="utf-8")
            if not seen:
                unseen.append(name)
            took = time.monotonic() - began
            print(f"{name:14s} {'caught' if seen else 'NOT SEEN'} ({took:.0f} s)", flush=True)
    print(f"{len(chosen) - len(unseen)} of {len(chosen)} were caught")
    return len(unseen)


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 1))
