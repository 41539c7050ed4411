"""The README's Python runs as it stands, but for sizes."""

from pathlib import Path
import re

import matplotlib.pyplot as plt
import pytest

from bayescg import results

ROOT = Path(__file__).parents[2]
#: What is made smaller: each stands in the README.
SMALLER = {
    "frames=20)  # the program": "frames=3, features=8)  # the program",
    "cg.mcem(water, data)": "cg.mcem(water, data, max_iterations=3, information=0)",
    "draws=100": "draws=2, production=Production(4, 4, 2)",
    "import bayescg as cg\n": "import bayescg as cg\nfrom bayescg.predict.particles import Production\n",
    "cg.mcem(ising, data)": "cg.mcem(ising, data, max_iterations=4)",
    "cg.nuts(ising, data)": "cg.nuts(ising, data, warmup=50, samples=50)",
    "cg.limits.rem(ising, data)": "cg.limits.rem(ising, data, max_iterations=4)",
    "reference=data)": "reference=data, draws=10)",
}


@pytest.mark.by_hand
def test_a_fit_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2 and blocks[0].count("\n") <= 25
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    source = "\n".join(blocks)
    for usual, smaller in SMALLER.items():
        assert source.count(usual) == 1, usual
        source = source.replace(usual, smaller)
    exec(compile(source, "README.md", "exec"), {})
    assert (tmp_path / "rdf.png").stat().st_size > 5000
    water = results.load(tmp_path / "water.nc")
    assert results.group(water, "posterior_predictive")["rdf"].sizes["draw"] == 2
    plt.close("all")
