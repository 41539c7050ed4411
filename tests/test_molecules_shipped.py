"""What matching distributions is to reach on the shipped data of hexane and water (slow)."""

from pathlib import Path
from typing import Any

import pytest

from bayescg import results, workflow

DATA = Path(__file__).parents[1] / "data"


def shipped(folder: str, frames: str, method: str, *effort: str) -> Any:
    return workflow.fit("molecular", DATA / folder / frames, method=method, method_options=effort)


def rms(result: Any) -> dict[str, float]:
    return {k: float(v) for k, v in results.attrs(result).items() if k.startswith("rms ")}


@pytest.mark.by_hand
@pytest.mark.parametrize("method", ["ibi", "rem"])
def test_hexane(method: str) -> None:
    """Every distribution within 0.03 (rms) of the long run's."""
    target = f"target={DATA / 'hexane' / 'long_run.nc'}"
    found = rms(shipped("hexane", "frames.nc", method, target))
    assert len(found) == 5 and max(found.values()) <= 0.03, found


@pytest.mark.by_hand
@pytest.mark.parametrize(("method", "most"), [("ibi", 15), ("imc", 8), ("rem", 12)])
def test_water(method: str, most: int) -> None:
    """RDF within 0.01 (rms) of the frames', in no more iterations than that."""
    result = shipped("spce_water", "frames_512.nc", method)
    (found,) = rms(result).values()
    trace = results.group(result, "em_trace")
    assert found <= 0.01 and results.attrs(result)["iterations"] <= most, trace["distance"].values
