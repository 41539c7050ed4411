"""The benchmark beside VOTCA."""

import pytest

from benchmarks.votca_files import need_votca


def test_the_benchmark_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit, match="this benchmark needs VOTCA, and csg_stat, csg_fmatch"):
        need_votca()
