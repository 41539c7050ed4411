"""The list of mutations is up to date; `make mutations` tries them."""

from pathlib import Path

import pytest

from tests.mutations import MUTATIONS, ROOT


@pytest.mark.parametrize("name", MUTATIONS)
def test_each_place_is_there_once(name: str) -> None:
    mutation = MUTATIONS[name]
    text = (ROOT / "bayescg" / mutation.path).read_text(encoding="utf-8")
    assert text.count(mutation.right) == 1
    assert mutation.wrong != mutation.right
    assert Path(ROOT / mutation.tests.partition("::")[0]).is_file()
