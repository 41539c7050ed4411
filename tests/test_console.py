"""What a command shows while it runs."""

import io
import json
from pathlib import Path
import time

import pytest

from bayescg.console import Console, Pace


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only the test moves."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_time_left_is_told_from_the_pace_after_the_first_word() -> None:
    """The first word comes after compiling, which is done once: 60 s here for a tenth, then 2 s for each other."""
    pace = Pace()
    assert pace.left("mcem", 0.1, 60.0) is None
    assert pace.left("mcem", 0.2, 62.0) == pytest.approx(16.0)
    assert pace.left("other", 0.9, 63.0) is None
    assert pace.left("mcem", 0.5, 68.0) == pytest.approx(10.0)
    assert pace.left("mcem", 1.0, 78.0) == 0.0
    # Begun anew, as a stage of the next iteration.
    assert pace.left("mcem", 0.5, 80.0) is None
    assert pace.left("mcem", 0.75, 90.0) == pytest.approx(10.0)


def test_a_terminal_shows_one_line_with_numbers_and_time_left(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    console = Console()
    for done in (0.1, 0.2, 0.201, 1.0):
        clock[0] += 0.1 if done == 0.201 else 20.0
        console.update("nuts", done, {"acceptance": 0.8123, "effective": 412.3})
    console.close()
    shown = stream.getvalue().split("\r\x1b[2K")[1:]
    assert [line.split(":")[0] for line in shown] == ["nuts"] * 3  # the third came too soon
    assert shown[1] == "nuts:  20%  acceptance 0.812  effective 412  (40 s, 2 min 40 s left)"
    assert shown[2] == "nuts: 100%  acceptance 0.812  effective 412  (1 min 0 s)\n"


def test_what_ends_by_its_own_rule_has_at_most_so_long_to_go(
    monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    console = Console()
    for done in (0.1, 0.2):
        clock[0] += 10.0
        console.update("mcem", done, {})
    assert stream.getvalue().endswith("at most 1 min 20 s left)")


def test_elsewhere_it_is_quiet_unless_asked(
    monkeypatch: pytest.MonkeyPatch, clock: list[float], tmp_path: Path
) -> None:
    """Messages are shown, and the log has all."""
    for lines, expected in ((False, ["hello"]), (True, ["mcem:  10%", "hello", "mcem:  30%"])):
        stream = io.StringIO()
        monkeypatch.setattr("sys.stderr", stream)
        log = tmp_path / f"{lines}.jsonl"
        console = Console(log=log, lines=lines)
        for done, wait in ((0.1, 20.0), (0.2, 5.0)):
            clock[0] += wait
            console.update("mcem", done, {"distance": 2.0})
        console.say("hello")
        clock[0] += 15.0
        console.update("mcem", 0.3, {"distance": float("nan")})
        console.end(0, {"files": ["a.nc"]})
        console.close()
        shown = [line.split("  distance")[0] for line in stream.getvalue().splitlines()]
        assert shown == expected
        events = [json.loads(line) for line in log.read_text().splitlines()]
        assert [e["event"] for e in events] == [
            "progress",
            "progress",
            "message",
            "progress",
            "end",
        ]
        assert [e["seconds_left"] for e in events if e["event"] == "progress"] == [
            None,
            pytest.approx(40.0),
            pytest.approx(70.0),
        ]
        assert events[3]["distance"] is None and events[0]["distance"] == 2.0
        assert (events[4]["exit_code"], events[4]["files"]) == (0, ["a.nc"])


def test_quiet_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    console = Console(quiet=True, lines=True)
    console.update("mcem", 1.0, {})
    console.say("hello")
    console.close()
    assert stream.getvalue() == ""
