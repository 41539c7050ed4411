"""The examples in docstrings run, and give what they say; in double precision, as the tests have it."""

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: What users call first, and what a program is written with: each shows how.
SHOWN = {
    "bayescg.critics.logistic": ["logistic"],
    "bayescg.distributions.boltzmann": ["Boltzmann"],
    "bayescg.distributions.coarse_to_fine": ["SpinFlip"],
    "bayescg.distributions.log_partition.exact": ["exact_for"],
    "bayescg.distributions.priors": ["ard", "coefficients"],
    "bayescg.infer.nuts_run": ["nuts"],
    "bayescg.infer.run": ["mcem"],
    "bayescg.limits.force_matching": ["program"],
    "bayescg.mapping.majority": ["majority"],
    "bayescg.observables.lattice": ["correlation", "magnetization"],
    "bayescg.observables.liquid": ["adf", "coordination", "rdf", "tetrahedral_order"],
    "bayescg.options": ["numbers", "parse_options"],
    "bayescg.potentials.bonded": ["HarmonicTerm"],
    "bayescg.potentials.lattice": ["SpinPotential", "independent_features"],
    "bayescg.potentials.molecular": ["Interaction"],
    "bayescg.potentials.pair": [
        "BSplines",
        "LennardJones",
        "LinearPair",
        "Table",
        "WindowedFourier",
    ],
    "bayescg.results": ["group", "psis"],
    "bayescg.samplers.particles": ["Dynamics"],
    "bayescg.space": ["minimum_image", "pair_distances", "wrap"],
    "bayescg.topology": ["Topology"],
    "bayescg.units": ["beta_of"],
    "bayescg.workflow.prediction": ["predict"],
    "bayescg.workflow.registry": ["system"],
    "bayescg.workflow.verbs": ["make_reference", "observe"],
}
#: Modules whose examples fit something.
FITTING = {"bayescg.infer.run", "bayescg.workflow.prediction"}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def with_examples() -> list[str]:
    """Modules with an example, found in their source."""
    paths = sorted((ROOT / "bayescg").rglob("*.py"))
    return [module_name(p) for p in paths if ">>> " in p.read_text(encoding="utf-8")]


def run(module: str) -> doctest.TestResults:
    """Run the examples of a module; what fails is printed."""
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    found = importlib.import_module(module)
    for test in doctest.DocTestFinder(exclude_empty=True).find(found, module):
        runner.run(test)
    return doctest.TestResults(runner.failures, runner.tries)


@pytest.mark.parametrize(
    "module",
    [pytest.param(m, marks=[pytest.mark.by_hand] * (m in FITTING)) for m in with_examples()],
)
def test_examples_give_what_they_say(module: str) -> None:
    done = run(module)
    assert done.attempted > 0 and done.failed == 0


@pytest.mark.parametrize("module", SHOWN)
def test_what_is_needed_most_has_an_example(module: str) -> None:
    found = importlib.import_module(module)
    missing = [n for n in SHOWN[module] if ">>> " not in (getattr(found, n).__doc__ or "")]
    assert missing == []


def test_an_example_that_is_wrong_is_seen() -> None:
    def wrong() -> None:
        """Not so.

        >>> 1 + 1
        3
        """

    runner = doctest.DocTestRunner(verbose=False)
    for test in doctest.DocTestFinder().find(wrong, "wrong", globs={}):
        runner.run(test, out=lambda text: None)
    assert (runner.failures, runner.tries) == (1, 1)
