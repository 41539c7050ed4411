"""Typed options from words: what is converted, and how a mistake is answered."""

from dataclasses import dataclass, field
from typing import Literal

import pytest

from bayescg.options import describe, numbers, numbers_in_words, parse_options, with_options


@dataclass(frozen=True)
class Options:
    sites: int = field(default=8, metadata={"help": "how many"})
    beta: float = 0.3
    name: str = "x"
    fast: bool = False
    limit: int | None = None
    scale: float | None = 1.0
    rule: Literal["once", "ordered"] = "once"
    order: Literal[1, 2] = 1


@pytest.mark.parametrize(
    ("word", "name", "value"),
    [
        ("sites=16", "sites", 16),
        ("beta=1e-3", "beta", 1e-3),
        ("beta=2", "beta", 2.0),
        (" name = a=b ", "name", "a=b"),
        ("name=", "name", ""),
        ("fast=yes", "fast", True),
        ("fast=0", "fast", False),
        ("limit=5", "limit", 5),
        ("limit=None", "limit", None),
        ("scale=none", "scale", None),
        ("scale=2", "scale", 2.0),
        ("rule=ordered", "rule", "ordered"),
        ("order=2", "order", 2),
    ],
)
def test_a_word_is_converted(word: str, name: str, value: object) -> None:
    found = parse_options(Options(), [word], "test")
    assert getattr(found, name) == value
    assert type(getattr(found, name)) is type(value)
    assert parse_options(found, [], "test") == found  # and the rest stays


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("sites", "option 'sites' for test is not of the form key=value"),
        ("site=8", r"unknown option 'site' for test; did you mean 'sites'\? Known: beta, fast, "),
        ("zzz=8", r"unknown option 'zzz' for test; known: beta, fast, limit, .*, sites\."),
        ("sites=8.5", "option sites=8.5 for test: must be an integer"),
        ("scale=hot", "option scale=hot for test: must be a number"),
        ("beta=2", "option 'beta' for test is given twice, '1' and '2'"),
        (" beta =1", "option 'beta' for test is given twice"),
        ("scale=nan", "option scale=nan for test: must be a finite number"),
        ("scale=inf", "option scale=inf for test: must be a finite number"),
        ("scale=-1e999", "option scale=-1e999 for test: must be a finite number"),
        ("sites=99999999999999999999", "must be an integer of 64 bits"),
        ("fast=maybe", "option fast=maybe for test: must be true or false"),
        ("limit=few", "option limit=few for test: must be an integer"),
        ("rule=twice", "option rule=twice for test: must be one of once, ordered"),
        ("order=3", "option order=3 for test: must be one of 1, 2"),
    ],
)
def test_a_mistake_says_what_is_allowed(word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        parse_options(Options(), ["beta=1", word], "test")
    assert "\n" not in str(error.value)


def test_values_that_are_no_text() -> None:
    """A stored result gives its options back as JSON has them."""
    values = {"sites": 4, "fast": True, "limit": None, "rule": "ordered", "order": 2, "beta": 1}
    found = with_options(Options(), values, "test")
    assert found == Options(sites=4, fast=True, rule="ordered", order=2, beta=1.0)
    with pytest.raises(ValueError, match="must be an integer"):
        with_options(Options(), {"sites": 4.5}, "test")


def test_description() -> None:
    expected = [
        ("sites", "int", "8", "how many"),
        ("beta", "float", "0.3", ""),
        ("name", "str", "x", ""),
        ("fast", "bool", "False", ""),
        ("limit", "int or none", "None", ""),
        ("scale", "float or none", "1.0", ""),
        ("rule", "once|ordered", "once", ""),
        ("order", "1|2", "1", ""),
    ]
    assert describe(Options) == describe(Options()) == expected


@pytest.mark.parametrize(
    ("text", "values", "words"),
    [
        ("0.5", [0.5], "0.5"),
        ("1e-1", [0.1], "0.1"),
        ("0.2,-1", [0.2, -1.0], "0.2,-1"),
        ("-1:1:3", [-1.0, 0.0, 1.0], "-1:1:3"),
        ("-4,0,4", [-4.0, 0.0, 4.0], "-4:4:3"),
    ],
)
def test_numbers_are_read_and_told(text: str, values: list[float], words: str) -> None:
    found = numbers(text, "mu")
    assert found.tolist() == pytest.approx(values)
    assert numbers_in_words(found) == words


@pytest.mark.parametrize("text", ["low", "", "1:2", "0:1:1", "0:1:3:4", "nan", "0:inf:3", "1,1"])
def test_other_text_is_no_numbers(text: str) -> None:
    with pytest.raises(ValueError, match=f"mu must be a number, .*, got '{text}'"):
        numbers(text, "mu")
