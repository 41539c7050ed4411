"""The first lines of the page: what was fitted, and the few numbers that tell what came of it."""

from collections.abc import Sequence
from typing import NamedTuple

from bayescg.infer.resampling import BAD_KHAT
from bayescg.report.case import ABSENT, Case
from bayescg.report.checks import failures, probabilities
from bayescg.report.curves import ACTIVE
from bayescg.report.text import NUMBERS, overview, values

__all__ = ["Fact", "facts", "lead"]

#: Numbers that say most, the first of them shown; by name in :data:`bayescg.report.text.NUMBERS`.
TELLING = (
    "rdf_rmse",
    "rdf_covered",
    "adf_relative_rmse",
    "adf_covered",
    "map_rdf_rmse",
    "map_adf_relative_rmse",
    "magnetization_rmse",
    "map_magnetization_rmse",
    "correlation_rmse",
    "map_correlation_rmse",
    "r_hat",
    "ess",
    "diverging",
    "khat_max",
    "log_evidence",
    "elbo",
    "rdf_width",
    "adf_width",
    "magnetization_width_90",
    "p0_mean",
    "active_features_max",
    "switched_off",
    "pressure",
    "effective_samples_min",
    "wall_seconds",
)
#: Names that need no explanation, where those of the table are explained above it.
PLAIN = {
    "p0_mean": "p0, probability that a fine spin equals its coarse one, mean over fields",
    "khat_max": f"tail index of importance weights, unreliable above {BAD_KHAT:g}",
    "active_features_max": f"terms of the potential with |θ| over {ACTIVE:g}, most at any field",
    "map_rdf_rmse": "RDF, RMSE at the point of highest posterior density",
    "map_adf_relative_rmse": "ADF, relative RMSE at the point of highest posterior density",
    "map_magnetization_rmse": "magnetisation, RMSE at the point of highest posterior density",
    "map_correlation_rmse": "correlation, RMSE at the point of highest posterior density",
    "log_evidence": "log evidence of model and prior / nats",
    "elbo": "lower bound of the log evidence / nats",
}
MOST = 6
#: Of what molecules are measured by, which are many and come first.
OWN = 4


class Fact(NamedTuple):
    """A number of the first lines.

    :param link: the part of the page that tells more
    """

    name: str
    value: str
    link: str


def lead(case: Case) -> str:
    """What was fitted, to what and how, in a sentence."""
    rows = dict(overview(case))
    text = rows["method"]
    text = text[0].upper() + text[1:]
    return f"{text}. Data: {rows['data']}." if "data" in rows else f"{text}."


def facts(cases: Sequence[Case], idents: Sequence[str], worries: int) -> list[Fact]:
    """The few numbers that tell most of the main fit.

    :param idents: of the figures on the page.
    :param worries: how many points there are to worry about.
    """
    numbers = {row[0]: row[1] for row in values(cases[:1])[1:] if row[1] != ABSENT}
    known = {text: key for key, text in NUMBERS.items()}
    own = [name for name in numbers if name not in known][:OWN]
    telling = [key for key in TELLING if NUMBERS[key] in numbers]
    if not cases[0].is_point:  # then an error at the MAP says little beside the posterior mean's
        telling.sort(key=lambda key: key.startswith("map_"))
    found = [Fact(name, numbers[name], "numbers") for name in own]
    found += [
        Fact(PLAIN.get(key, NUMBERS[key]), numbers[NUMBERS[key]], "numbers") for key in telling
    ]
    found = found[:MOST]
    made, failed = len(probabilities(cases[0])), len(failures(cases[0]))
    if made:
        told = f"{failed} of {made} fail" if failed else f"{made} of {made} pass"
        where = "checks" if "checks" in idents else "worries"
        found.insert(0, Fact("predictive checks on the fitted frames", told, where))
    many = f"{worries} {'point' if worries == 1 else 'points'}" if worries else "nothing more"
    return [Fact("to worry about", many, "worries"), *found]
