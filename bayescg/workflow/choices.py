"""Observables by name, as users choose them."""

from collections.abc import Mapping, Sequence
import inspect
from typing import Any

from numpy.typing import ArrayLike

from bayescg.observables.base import Observable
from bayescg.observables.lattice import Correlation
from bayescg.observables.liquid import AngularDistribution, LiquidObservable, TetrahedralOrder

__all__ = ["choose_observables"]


def choose_observables(
    wanted: Sequence[str | Observable],
    known: Mapping[str, Any],
    owner: str,
    sites: int,
    box: ArrayLike | None = None,
) -> list[Observable]:
    """Observables from words such as ``correlation:max=16``; those that are none pass through.

    :param known: constructors by name; ``owner`` is whose they are, for messages.
    :param sites: sites of the configurations that will be measured.
    :param box: edges ``(axis,)`` of the box they lie in, angstrom: observables of liquids are given
        it, in place of one that they may have.
    :raises ValueError: for an unknown observable or option, one that the sites or the box do not
        allow, or two of one name.
    """
    out = [_parsed(o, known, owner) if isinstance(o, str) else o for o in wanted]
    if box is not None:
        out = [o.in_box(box) if isinstance(o, LiquidObservable) else o for o in out]
    names = [o.name for o in out]
    for o in out:
        if names.count(o.name) > 1:
            raise ValueError(f"observable {o.name} is asked for {names.count(o.name)} times.")
        if isinstance(o, Correlation) and o.max_separation >= sites:
            raise ValueError(
                f"correlation max must be below the {sites} sites, got {o.max_separation}."
            )
        if isinstance(o, AngularDistribution | TetrahedralOrder) and o.neighbours >= sites:
            raise ValueError(
                f"{o.name} neighbours must be below the {sites} sites, got {o.neighbours}."
            )
    return out


def _parsed(word: str, known: Mapping[str, Any], owner: str) -> Observable:
    name, _, rest = word.partition(":")
    if name not in known:
        raise ValueError(
            f"unknown observable {name!r} for {owner}; known: {', '.join(sorted(known))}."
        )
    make = known[name]
    accepted = {
        k: p
        for k, p in inspect.signature(make).parameters.items()
        if p.kind is not inspect.Parameter.VAR_KEYWORD and k != "box"  # the box is the data's
    }
    values: dict[str, Any] = {}
    for pair in filter(None, rest.split(",")):
        key, sep, text = pair.partition("=")
        if not sep or key not in accepted:
            raise ValueError(
                f"unknown option {key!r} for observable {name}; known: {', '.join(accepted) or 'none'}."
            )
        if key in values:
            raise ValueError(f"option {key} of observable {name} is given twice.")
        kind = accepted[key].annotation
        try:
            values[key] = kind(text)
        except ValueError:
            raise ValueError(
                f"option {key}={text} for observable {name} must be {kind.__name__}."
            ) from None
    made: Observable = make(**values)
    return made
