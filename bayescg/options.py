"""Typed options from ``key=value`` words: one reader for models, methods and observables."""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, field, fields, replace
from difflib import get_close_matches
import math
import types
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

__all__ = [
    "describe",
    "in_words",
    "numbers",
    "numbers_in_words",
    "option",
    "parse_options",
    "read_words",
    "with_options",
]

T = TypeVar("T")
_MOST = 100_000  # numbers that first:last:count may stand for
_LONGEST = 80  # characters of a word that a message repeats


def option(default: Any, text: str) -> Any:
    """A field of an options dataclass: its default, and the help that users read."""
    return field(default=default, metadata={"help": text})


def parse_options(base: T, words: Iterable[str], owner: str) -> T:
    """A copy of the options dataclass ``base`` with ``key=value`` words applied.

    :param base: an instance of a frozen dataclass; its fields are the known options.
    :param words: the words, for example ``["ratio=4", "prior=normal"]``.
    :param owner: whose options these are, for messages.
    :raises ValueError: for an unknown name, a value of the wrong type, a word without ``=``, or a
        name given twice.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Options:
    ...     sites: int = option(8, "how many")
    ...     fast: bool = option(False, "whether")
    ...
    >>> parse_options(Options(), ["sites=16", "fast=yes"], "an example")
    Options(sites=16, fast=True)
    >>> parse_options(Options(), ["site=16"], "an example")
    Traceback (most recent call last):
        ...
    ValueError: unknown option 'site' for an example; did you mean 'sites'? Known: ...
    """
    return with_options(base, read_words(words, owner), owner)


def read_words(words: Iterable[str], owner: str) -> dict[str, str]:
    """``key=value`` words as a dictionary.

    :raises ValueError: for a word without ``=``, or a name given twice.
    """
    values: dict[str, str] = {}
    for word in words:
        name, sep, text = word.partition("=")
        if not sep:
            raise ValueError(f"option {_short(word)!r} for {owner} is not of the form key=value.")
        name, text = name.strip(), text.strip()
        if name in values:
            raise ValueError(
                f"option {_short(name)!r} for {owner} is given twice, {_short(values[name])!r} and "
                f"{_short(text)!r}."
            )
        values[name] = text
    return values


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def with_options(base: T, values: Mapping[str, Any], owner: str) -> T:
    """A copy of ``base`` with named values applied; text is converted to the field's type.

    :raises ValueError: for an unknown name, with the known ones, and for a value of the wrong
        type.
    """
    known = [f.name for f in fields(base)]  # type: ignore[arg-type]
    hints = get_type_hints(type(base))
    converted = {}
    for name, value in values.items():
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]!r}? Known" if close else "; known"
            raise ValueError(
                f"unknown option {_short(name)!r} for {owner}{hint}: {', '.join(sorted(known))}."
            )
        try:
            converted[name] = _convert(value, hints[name])
        except ValueError as error:
            raise ValueError(f"option {name}={_short(str(value))} for {owner}: {error}") from None
    return replace(base, **converted)  # type: ignore[type-var]


def in_words(value: Any) -> str:
    """A value as an option's text: what :func:`with_options` reads back as the same value."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)


def numbers(text: str, name: str) -> np.ndarray:
    """Different finite numbers from ``a``, ``a,b,c`` or ``first:last:count``.

    :param name: what they are of, for the message.
    :raises ValueError: for other text.

    >>> numbers("-1:1:5", "mu").tolist()
    [-1.0, -0.5, 0.0, 0.5, 1.0]
    >>> numbers("280,300,340", "temperature").tolist()
    [280.0, 300.0, 340.0]
    """
    parts, problem = text.split(":"), ""
    try:
        if len(parts) == 1:
            values = np.array([float(v) for v in text.split(",")])
            if np.isfinite(values).all() and len(set(values)) == len(values):
                return values
            raise ValueError
        first, last, count = float(parts[0]), float(parts[1]), min(int(parts[2]), _MOST + 1)
        if len(parts) == 3 and count > 1 and np.isfinite(first) and np.isfinite(last):
            if count > _MOST:
                problem = f" (at most {_MOST} numbers)"
                raise ValueError
            return np.linspace(first, last, count)
    except (ValueError, IndexError):
        pass
    raise ValueError(
        f"{name} must be a number, different numbers with commas, or first:last:count{problem}, got {_short(text)!r}."
    )


def numbers_in_words(values: np.ndarray) -> str:
    """Numbers as :func:`numbers` reads them."""
    if len(values) > 2 and np.allclose(values, np.linspace(values[0], values[-1], len(values))):
        return f"{values[0]:.12g}:{values[-1]:.12g}:{len(values)}"
    return ",".join(f"{v:.12g}" for v in values)


def describe(options: Any) -> list[tuple[str, str, str, str]]:
    """Name, type, default and help of every option of a dataclass (instance or class)."""
    hints = get_type_hints(options if isinstance(options, type) else type(options))
    return [
        (f.name, _type_name(hints[f.name]), _default(options, f), str(f.metadata.get("help", "")))
        for f in fields(options)
    ]


def _default(options: Any, f: Field[Any]) -> str:
    value = f.default if isinstance(options, type) else getattr(options, f.name)
    return "" if value is MISSING else str(value)


def _type_name(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "|".join(str(v) for v in get_args(hint))
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_type_name(a) for a in get_args(hint))
    return "none" if hint is type(None) else getattr(hint, "__name__", str(hint))


def _convert(value: Any, hint: Any) -> Any:
    origin = get_origin(hint)
    if origin is Literal:
        allowed = get_args(hint)
        for choice in allowed:
            if str(value) == str(choice):
                return choice
        raise ValueError(f"must be one of {', '.join(map(str, allowed))}.")
    if origin in (Union, types.UnionType):
        arms = get_args(hint)
        if type(None) in arms and (value is None or str(value).lower() == "none"):
            return None
        errors = []
        for arm in arms:
            if arm is not type(None):
                try:
                    return _convert(value, arm)
                except ValueError as error:
                    errors.append(str(error))
        raise ValueError(errors[0])
    text = str(value)
    if hint is bool:
        if text.lower() in ("true", "yes", "1"):
            return True
        if text.lower() in ("false", "no", "0"):
            return False
        raise ValueError("must be true or false.")
    if hint is int:
        try:
            count = int(text)
        except ValueError:
            raise ValueError("must be an integer.") from None
        if abs(count) >= 2**63:  # more than arrays and files hold
            raise ValueError("must be an integer of 64 bits.")
        return count
    if hint is float:
        try:
            number = float(text)
        except ValueError:
            raise ValueError("must be a number.") from None
        if not math.isfinite(number):
            raise ValueError("must be a finite number.")
        return number
    return text
