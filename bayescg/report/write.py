"""Writing the report."""

from collections.abc import Callable, Sequence
import os
from typing import Any

import jinja2

from bayescg import __version__
from bayescg.files import write_atomically
from bayescg.report import glance, hover, liquid, molecules, repeat, text, trust
from bayescg.report.allowance import two_intervals
from bayescg.report.bands import bands, p0
from bayescg.report.case import Case, cases_of
from bayescg.report.checks import predictive
from bayescg.report.constraint import constraints
from bayescg.report.curves import coefficients, priors, reconstruction, versus
from bayescg.report.distributions import single
from bayescg.report.drawing import Figure, drawing_style
from bayescg.report.joint import joint
from bayescg.report.parameters import relevant, spread
from bayescg.report.potentials import by_iteration, compared, uncertain
from bayescg.report.sampling import CHAINS, chains, sampled
from bayescg.report.states import growth, hidden_states
from bayescg.report.structure import distribution
from bayescg.report.traces import iterations, relevances
from bayescg.report.typed import along, potentials

__all__ = ["figures_of", "write_report"]

Maker = Callable[[Sequence[Case]], Figure | None]

#: What to do for what needs draws of a prediction.
POSTERIOR = "fit with a method that gives a posterior, and predict from 20 draws at least"
#: Of every system: how well chains mix.
MIXING: tuple[tuple[str, Maker, str], ...] = (
    ("traces of the chains", sampled, "fit with -m nuts"),
    ("ranks of the chains", chains, "fit with -m nuts or smc"),
)
#: Every figure of a lattice: its name, who makes it, and what to do if it cannot be made.
FIGURES: tuple[tuple[str, Maker, str], ...] = (
    ("Fig. 4 (reconstruction)", reconstruction, "predict with `bayescg predict`"),
    ("Fig. 5 (magnetisation)", versus, "predict with `bayescg predict --reference`"),
    ("Fig. 6 (coefficients)", coefficients, "fit a model that has coefficients theta_c"),
    (
        "Fig. 7 (with and without ARD)",
        priors,
        "add the same sweep fitted with another prior, predicted",
    ),
    (
        "Fig. 8 (magnetisation, several N)",
        lambda c: bands(c, "magnetization", "frames"),
        "add the same fit with other numbers of frames (-s frames=N), predicted",
    ),
    (
        "Fig. 9 (correlation, several N)",
        lambda c: bands(c, "correlation", "frames"),
        "add the same fit with other numbers of frames (-s frames=N), predicted",
    ),
    ("Fig. 10 (posterior of p0)", p0, "fit with a coarse-to-fine map that has p0 (-s fine=flip)"),
    (
        "Fig. 11 (magnetisation, several ratios)",
        lambda c: bands(c, "magnetization", "ratio"),
        "add the same fit at other ratios (-s ratio=R) and the same N, predicted",
    ),
    (
        "Fig. 12 (correlation, several ratios)",
        lambda c: bands(c, "correlation", "ratio"),
        "add the same fit at other ratios (-s ratio=R) and the same N, predicted",
    ),
    ("predictive checks", predictive, POSTERIOR),
    ("the two intervals", two_intervals, POSTERIOR),
    ("hidden states", hidden_states, "fit a model that has them, such as ising_mixture"),
    ("features added one by one", growth, "fit with -m grow"),
    ("iterations of MC-EM", iterations, "fit with -m mcem"),
    ("ARD relevances", relevances, "fit with -m mcem and -s prior=ard"),
    *MIXING,
)
#: The same of particles.
IN_SPACE: tuple[tuple[str, Maker, str], ...] = (
    ("the search", liquid.search, "fit with -m mcem"),
    ("Fig. 14a (potential along the iterations)", by_iteration, "fit with -m mcem"),
    (
        "Fig. 14b (potential beside that of REM)",
        compared,
        "add a fit of the same data with -m rem",
    ),
    ("Fig. 15 (coefficients)", relevant, "fit a model that has coefficients theta_c"),
    ("Fig. 16 (posterior of the parameters)", spread, "fit with a method that gives a posterior"),
    ("Fig. 17 (posterior of the potential)", uncertain, "fit with a method that gives a posterior"),
    (
        "Fig. 18 (RDF)",
        lambda c: distribution(c, "rdf"),
        "predict with `bayescg predict -O rdf --reference`",
    ),
    (
        "Fig. 19 (ADF)",
        lambda c: distribution(c, "adf"),
        "predict with `bayescg predict -O adf --reference`",
    ),
    ("predictive checks", predictive, POSTERIOR),
    ("the two intervals", two_intervals, POSTERIOR),
)
#: The same of molecules, whose potentials are by bead type and bonded term.
BY_TYPE: tuple[tuple[str, Maker, str], ...] = (
    ("the search", molecules.search, "fit with a method that searches (-m ibi, imc, rem or mcem)"),
    ("potentials", potentials, "fit with a method that stores its potentials"),
    ("potentials along the iterations", along, "fit with a method that searches, for two or more"),
    (
        "distributions",
        single,
        "predict with `bayescg predict --reference`",
    ),
    ("predictive checks", predictive, POSTERIOR),
    ("the two intervals", two_intervals, POSTERIOR),
    ("joint distributions", joint, "predict molecules that have angles"),
    ("what the data hardly constrain", constraints, "fit to frames, or predict --reference"),
    (
        "posterior of the parameters beside θ",
        spread,
        "fit with -m mcem, or -s pair=lj by a method that gives a posterior",
    ),
)


def write_report(
    results: Sequence[Any], path: str | os.PathLike[str], labels: Sequence[str] | None = None
) -> None:
    """Write one self-contained HTML file, which opens without a network.

    :param results: InferenceData of fits; the first is reported on, the others are compared with
        it where a figure needs several.
    :param path: the file to write, by rename.
    :param labels: a name for each result.
    :raises ValueError: if no result is given, or the labels do not match.
    :raises OSError: if the path cannot be written.
    """
    if not results:
        raise ValueError("a report needs at least one result.")
    names = [f"fit {i + 1}" for i in range(len(results))] if labels is None else list(labels)
    if len(names) != len(results):
        raise ValueError(f"there are {len(results)} results but {len(names)} labels.")
    cases = cases_of(results, names)
    swept = [c for c in cases if c.in_space and c.dim is not None]
    if swept:
        raise ValueError(
            f"{swept[0].label} is of several values of {swept[0].dim}, and reports of sites in space are of one; its "
            "numbers are in the result: posterior, posterior_predictive, reference."
        )
    with write_atomically(path) as part:
        html = _render(cases)
        part.write_text(html, encoding="utf-8", errors="xmlcharrefreplace")


def figures_of(cases: Sequence[Case]) -> tuple[list[Figure], list[tuple[str, str]]]:
    """Every figure that the results allow; the name and the remedy of each other one."""
    figures, missing = [], []
    with drawing_style():
        for name, make, remedy in _makers(cases[0]):
            figure = make(cases)
            if figure is None:
                missing.append((name, remedy))
            else:
                figures.append(figure)
    return figures, missing


def _makers(main: Case) -> tuple[tuple[str, Maker, str], ...]:
    if not main.in_space and not main.is_molecular:
        return FIGURES
    own = BY_TYPE if main.is_molecular else IN_SPACE
    return (*own, *MIXING) if main.method in CHAINS else own


def _measure(main: Case) -> str:
    """How differences from the reference are taken."""
    if main.is_molecular:
        return (
            "rms is the root-mean-square difference from the reference, over bins in which either holds "
            "something: of g(r) as it is, of other distributions relative to the reference's largest value"
        )
    where = "the places that each row names" if main.in_space else "all fields"
    return f"RMSE is the root-mean-square difference from the reference, over {where}"


def _render(cases: Sequence[Case]) -> str:
    figures, missing = figures_of(cases)
    main = cases[0]
    lines, notes = repeat.commands(main)
    groups = trust.grouped(cases)
    numbers = text.values(cases)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bayescg.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        lead=glance.lead(main),
        facts=glance.facts(cases, [f.ident for f in figures], len(groups[0][1])),
        title=f"{main.attrs.get('model', 'result')}: {main.label}",
        overview=text.overview(main),
        states=[trust.status(c) for c in cases],
        fits=text.fits(cases),
        worries=groups,
        reliability=liquid.reliability(cases) if main.in_space else [],
        terms=trust.terms(groups),
        numbers=numbers,
        meanings=text.meanings(numbers),
        measure=_measure(main),
        premise=trust.premise(main),
        figures=figures,
        missing=missing,
        aliases=text.aliases(main),
        settings=text.settings(main),
        commands=lines,
        notes=notes,
        script=hover.script(),
        version=__version__,
    )
