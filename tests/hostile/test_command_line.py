"""Whole command lines on broken words and broken files, of every command.

Each ends with exit code 0 or, in one line that begins with ``bayescg:``, with 1 or 2; no output is half written, and
one that was there stays as it was when a command is refused. With ``--json`` there is one object on stdout, whatever
happened. What a fit, a plan or a prediction computes when all its input is accepted is left out
(:mod:`tests.hostile.capped`).
"""

from hashlib import sha256
import json
from pathlib import Path
import re
import shutil
from typing import Any

from hypothesis import strategies as st
import pytest

from tests.hostile import counting, octets, structures, trees
from tests.hostile.capped import REACHED
from tests.hostile.commands import LINES, MODEL_FILES, Line, broken_words
from tests.hostile.pool import Worker
from tests.hostile.test_readers import LANES, READERS_SHARE, Faults, drawn

WEIGHT = sum(line.weight for line in LINES)
PATIENCE = 60.0  # s for one command; some compile
OLD = b"written before"
#: How :mod:`bayescg.cli.border` shows an exception that nobody has worded.
UNWORDED = re.compile(r"unexpected \w+(: .*)?; run again with --debug")


def inputs(line: Line, slow: bool) -> int:
    share = counting.budget(slow) * (1.0 - READERS_SHARE)
    return max(2, round(share * line.weight / WEIGHT))


def contents(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder."""
    return {
        str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }


def fault_of(
    done: dict[str, Any], before: dict[str, str], after: dict[str, str], as_json: bool
) -> str:
    """What is wrong with how a command ended; empty where nothing is."""
    if done.get("outcome"):
        return f"{done['outcome']}: {done['text']}"
    code, err, out = done["code"], done["stderr"], done["stdout"]
    said = [line for line in err.splitlines() if line.startswith("bayescg: ")]
    if done["through"] or code not in (0, 1, 2):
        return f"exit code {code}, {done['through']}"
    if UNWORDED.search(err) or "Traceback" in err or "Warning: " in err:
        return f"not worded: {err[-600:]}"
    if code and (len(said) != 1 or err.splitlines()[-1:] != said):
        return f"exit code {code} with {len(said)} lines of complaint: {err[-600:]!r}"
    if code and any(not (c.isprintable() or c in "\t") for c in said[0]):
        return f"control characters: {said[0]!r}"
    if code == 2 and err.splitlines() != said:
        return f"bad input with other words: {err[-600:]!r}"
    if code and len(said[0]) > 1500:
        return f"{len(said[0])} characters: {said[0]}"
    if any(".part" in name for name in after):
        return f"left {[n for n in after if '.part' in n]}"
    if code and after != before:
        changed = sorted(n for n in {*before, *after} if before.get(n) != after.get(n))
        if not (code == 1 and changed == ["new.nc.checkpoint"]):
            return f"exit code {code}, and it changed {changed}"
    if as_json:
        try:
            answer = json.loads(out)
        except ValueError:
            return f"no JSON: {out[:300]!r}"
        if not isinstance(answer, dict) or (code and set(answer) < {"error", "exit_code"}):
            return f"JSON without an answer: {out[:300]!r}"
    return ""


def outcome_of(done: dict[str, Any]) -> str:
    if done.get("outcome"):
        return str(done["outcome"])
    reached = done["code"] == 1 and REACHED in done["stderr"]
    return "accepted" if done["code"] == 0 or reached else "refused"


def broken_file(data: st.DataObject, whole: Path) -> bytes | None:
    """A file's broken content, by what suits its kind."""
    if whole.name == "model.py":
        return data.draw(st.sampled_from(MODEL_FILES)).encode("utf-8", "surrogatepass")
    content = whole.read_bytes()
    how = data.draw(st.sampled_from(("kind", "kind", "kind", "bytes", "empty")))
    if how == "empty":
        return b""
    if how == "bytes" or whole.suffix == ".xtc":
        return data.draw(octets.broken_bytes(content))
    if whole.suffix == ".nc":
        spare = whole.with_name(".spare")
        made = structures.write(
            data.draw(structures.broken_structure(structures.read(whole))), spare
        )
        found = spare.read_bytes() if made else None
        spare.unlink(missing_ok=True)
        return found
    make = {".yaml": trees.broken_yaml, ".xml": trees.broken_xml}.get(
        whole.suffix, octets.broken_lines
    )
    return data.draw(make(whole.read_text())).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("slow", LANES, ids=["short", "long"])
@pytest.mark.parametrize("line", LINES, ids=lambda x: x.name)
def test_commands(
    line: Line,
    slow: bool,
    tmp_path: Path,
    files: Path,
    worker: Worker,
    request: pytest.FixtureRequest,
) -> None:
    if line.fits and not slow:
        pytest.skip("the fits that it reads take a minute; in the slow lane")
    if line.compiles and not slow:
        pytest.skip("it takes seconds as it is; in the slow lane")
    whole = tmp_path / "whole"
    shutil.copytree(files, whole)
    if line.fits:
        shutil.copytree(request.getfixturevalue("fitted"), whole, dirs_exist_ok=True)
    folder, faults = tmp_path / "folder", Faults(tmp_path / "faults")
    name = f"bayescg {line.words.split()[0]}"

    def run(
        words: list[str], broken: tuple[str, bytes] | None, old: bool, as_json: bool
    ) -> dict[str, Any]:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder)
        if broken is not None:
            (folder / broken[0]).write_bytes(broken[1])
        if old:
            (folder / "new.nc").write_bytes(OLD)
        before = contents(folder)
        # At the end it would be the value of a flag that lacks its own.
        given = [*words[:1], "--json", *words[1:]] if as_json else words
        done = worker.ask(PATIENCE, do="command", words=given, folder=str(folder), capped=True)
        fault = fault_of(done, before, contents(folder), as_json)
        return done | {"fault": fault}

    first = run(line.words.split(), None, False, False)
    assert not first["fault"], first
    if line.words.split()[0] != "demo":
        assert outcome_of(first) == "accepted", first

    def check(data: st.DataObject) -> None:
        broken = None
        words = line.words.split()
        if line.files and (data.draw(st.booleans()) or not line.options):
            at = data.draw(st.sampled_from(line.files))
            content = broken_file(data, whole / at)
            if content is None or content == (whole / at).read_bytes():
                return
            broken = at, content
        else:
            words = data.draw(broken_words(line))
        old, as_json = data.draw(st.booleans()), data.draw(st.booleans())
        mark = json.dumps(words).encode() + (broken[1] if broken else b"")
        if (words == line.words.split() and broken is None) or not counting.is_new(name, mark):
            return
        done = run(words, broken, old, as_json)
        outcome = "bug" if done["fault"] and not done.get("outcome") else outcome_of(done)
        counting.count(name, outcome, "at_first" in done)
        if done["fault"]:
            text = f"{words} {'' if broken is None else broken[0]}: {done['fault']}"
            faults.add(
                outcome,
                f"{done['fault']}  <- {text[:200]}",
                mark if broken is None else broken[1],
                ".in",
            )

    drawn(check, inputs(line, slow))
    faults.check()
