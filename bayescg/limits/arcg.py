"""Adversarial-residual coarse-graining (ARCG) as a limiting case: Dirac map or pre-CG map, and a critic for log Z."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import xarray as xr

from bayescg.critics import Critic, Logistic
from bayescg.divergences import Classified, Divergence, Judge
from bayescg.infer.adversarial import AdversarialEffort
from bayescg.infer.adversarial_options import CriticOptions, DescentOptions, NewtonOptions
from bayescg.infer.adversarial_run import Adversarial, judge_of
from bayescg.infer.options import options_for
from bayescg.options import option
from bayescg.system import System

__all__ = ["ARCGOptions", "arcg"]

#: What only a classifier has.
OF_CRITICS = frozenset({"critic", "critic_steps", "hidden", "penalty", "folds"})
CLASSIFIED = "relative_entropy, hellinger, bhattacharyya, squared and jensen_shannon"


@dataclass(frozen=True)
class ARCGOptions(AdversarialEffort, CriticOptions, DescentOptions, NewtonOptions):
    """Options of ARCG."""

    divergence: Literal[
        "relative_entropy",
        "hellinger",
        "bhattacharyya",
        "squared",
        "jensen_shannon",
        "mmd",
        "energy_distance",
        "wasserstein",
        "sobolev",
    ] = option("relative_entropy", "divergence of model and data that is made small")
    polish: bool = option(
        False,
        "go on by Newton's steps, with what the model says of steps=newton, once other steps have converged",
    )

    def __post_init__(self) -> None:
        AdversarialEffort.__post_init__(self)
        NewtonOptions.__post_init__(self)


def arcg(
    system: System,
    data: xr.Dataset,
    *,
    divergence: str | Divergence | None = None,
    critic: str | Critic | None = None,
    **options: Any,
) -> Adversarial:
    r"""ARCG: make a critic's estimate of a divergence small (ARCG paper, Eqs. 11 and 15).

    With relative entropy and a complete critic its slope is REM's: :math:`-\langle\hat\eta/(1 - \hat\eta)
    \rangle`-weighted averages over the model are averages over the data (Eq. 43 with the sign of Eq. 42).

    :param system: what is fitted.
    :param data: fine configurations, in the layout of :mod:`bayescg.io.netcdf`.
    :param divergence: one of :mod:`bayescg.divergences`, or its name.
    :param critic: one of :mod:`bayescg.critics`, or its name.
    :param options: those of :class:`ARCGOptions` that are not at their defaults.
    :raises ValueError: for an unknown option, and for Newton's steps with another critic than a linear classifier.
    """
    names = {
        k: v for k, v in {"divergence": divergence, "critic": critic}.items() if isinstance(v, str)
    }
    chosen = options_for(system, "arcg", ARCGOptions(), {**options, **names})

    def judged(chosen: ARCGOptions) -> Judge:
        judge = judge_of(
            chosen.divergence if divergence is None else divergence,
            chosen.critic if critic is None else critic,
            chosen,
        )
        asked = sorted(OF_CRITICS & {*options, *({"critic"} if critic is not None else ())})
        if asked and not isinstance(judge, Classified):
            named = (
                chosen.divergence if divergence is None else getattr(divergence, "name", divergence)
            )
            raise ValueError(
                f"{', '.join(asked)}: {named} has a witness of its own and needs no critic; allowed is that with the "
                f"divergences {CLASSIFIED}."
            )
        return judge

    def newton(chosen: ARCGOptions) -> Adversarial:
        judge = judged(chosen)
        if not isinstance(judge, Classified) or not isinstance(judge.critic, Logistic):
            raise ValueError(
                "steps=newton, and polish, go where a linear classifier tells least; allowed with it are "
                f"critic=logistic and the divergences {CLASSIFIED}."
            )
        rule = chosen.newton()
        # What holds a critic back is that critic's own penalty.
        kept = replace(chosen, penalty=judge.critic.penalty)
        return Adversarial(system, data, kept, "arcg", judge, lambda program: rule)

    if chosen.steps == "newton":
        return newton(chosen)
    first = Adversarial(system, data, chosen, "arcg", judged(chosen), chosen.rule)
    if not chosen.polish:
        return first
    further = options_for(system, "arcg", ARCGOptions(), {**options, **names, "steps": "newton"})
    return replace(first, then=newton(further))
