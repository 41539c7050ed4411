"""Every reader on broken input: a value that passes its check or one line of why not, and nothing else.

``pytest tests/hostile`` breaks a few hundred inputs, ``pytest tests/hostile -m slow`` more than 5,000 in under ten
minutes, and ``BAYESCG_MUTATIONS=20000 pytest tests/hostile -m slow`` as many as asked for. At the end stands how
many inputs each reader was given, and how many of them it accepted and refused. What a reader gets wrong is listed
by what it said, with an input that makes it say so; :mod:`tests.hostile.test_found` keeps those that did.

Readers run in a process of their own (:mod:`tests.hostile.worker`), so that a library that crashes or does not
return is seen as that.
"""

from collections.abc import Callable
from pathlib import Path
import re
import shutil

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
import pytest

from tests.hostile import counting
from tests.hostile.cases import CASES, METHODS, Breaker, Case, words
from tests.hostile.pool import Worker
from tests.hostile.readers import MODELS

READERS_SHARE = 0.92  # of all mutated inputs; the rest are for whole command lines, of which each takes a second
WEIGHT = sum(c.weight for c in CASES)
LANES = [False, pytest.param(True, marks=pytest.mark.by_hand)]


def inputs(case: Case, slow: bool) -> int:
    return max(4, round(counting.budget(slow) * READERS_SHARE * case.weight / WEIGHT))


def drawn(check: Callable[[st.DataObject], None], many: int) -> None:
    """Run a check on many drawn inputs, the same ones every time."""
    settings(
        max_examples=many,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )(given(st.data())(check))()


class Faults:
    """What readers got wrong: by what was said, numbers aside, with the first input of each."""

    def __init__(self, kept: Path) -> None:
        self.kept, self.found = kept, dict[str, str]()

    def add(self, outcome: str, text: str, content: bytes, suffix: str) -> None:
        mark = re.sub(r"[\d.]+|'[^']*'|/\S+", "*", f"{outcome}: {text}")[:160]
        if mark not in self.found:
            self.kept.mkdir(exist_ok=True)
            path = self.kept / f"{len(self.found)}{suffix}"
            path.write_bytes(content)
            path.with_suffix(".said").write_text(f"{outcome}: {text}", errors="backslashreplace")
            self.found[mark] = f"{outcome}: {text[:500]}\n    {path}"

    def check(self) -> None:
        assert not self.found, "\n".join(["", *self.found.values()])


@pytest.mark.parametrize("slow", LANES, ids=["short", "long"])
@pytest.mark.parametrize("case", [c for c in CASES if c.bases], ids=lambda c: c.name)
def test_files(
    case: Case, slow: bool, tmp_path: Path, worker: Worker, request: pytest.FixtureRequest
) -> None:
    if case.fits and not slow:
        pytest.skip("the fits that it reads take a minute; in the slow lane")
    whole: Path = request.getfixturevalue("fitted" if case.fits else "files")
    breaker, faults = Breaker(case, whole, tmp_path), Faults(tmp_path / "faults")
    reader = case.reader.partition(" ")[0]

    def ask(path: Path) -> dict[str, str]:
        near = {"votca_project": path.with_name("settings.xml")}.get(reader, path)
        before = sorted(p.name for p in path.parent.iterdir())
        answer = worker.ask(do="read", name=reader, path=str(near))
        left = sorted(p.name for p in path.parent.iterdir())
        if left != before:
            return {"outcome": "bug", "text": f"it left {sorted(set(left) - set(before))}"}
        return answer

    for base in case.bases:
        path = breaker.place(base)
        shutil.copyfile(whole / base, path)
        answer = ask(path)
        assert answer["outcome"] == "accepted", (base, answer)

    def check(data: st.DataObject) -> None:
        base = data.draw(st.sampled_from(case.bases))
        path = breaker.place(base)
        if breaker.broken(data, path, base) and counting.is_new(case.name, path.read_bytes()):
            content = path.read_bytes()
            answer = ask(path)
            counting.count(case.name, answer["outcome"], "at_first" in answer)
            if answer["outcome"] not in ("accepted", "refused"):
                faults.add(answer["outcome"], answer["text"], content, path.suffix)
        shutil.copyfile(whole / base, path)

    drawn(check, inputs(case, slow))
    faults.check()


WHOLE = {
    "model_options": ["ising\nratio=4\nprior=normal", *MODELS],
    "method_options": ["mcem\ndraws=10", *METHODS],
    "observable": ["rdf:width=0.2,max=4", "correlation:max=3", "magnetization", "adf"],
    "number_words": ["1", "0,0.5", "-1:1:5"],
}


@pytest.mark.parametrize("slow", LANES, ids=["short", "long"])
@pytest.mark.parametrize("case", [c for c in CASES if not c.bases], ids=lambda c: c.name)
def test_words(case: Case, slow: bool, tmp_path: Path, worker: Worker) -> None:
    faults, texts = Faults(tmp_path / "faults"), words(case.reader)
    for text in WHOLE[case.reader]:
        answer = worker.ask(do="read", name=case.reader, path=text)
        assert answer["outcome"] == "accepted", (text, answer)

    def check(data: st.DataObject) -> None:
        text = data.draw(texts)
        content = text.encode("utf-8", "surrogatepass")
        if counting.is_new(case.name, content):
            answer = worker.ask(do="read", name=case.reader, path=text)
            counting.count(case.name, answer["outcome"], "at_first" in answer)
            if answer["outcome"] not in ("accepted", "refused"):
                faults.add(answer["outcome"], answer["text"], content, ".txt")

    drawn(check, inputs(case, slow))
    faults.check()
