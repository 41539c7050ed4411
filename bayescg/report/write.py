"""Writing the report."""

from collections.abc import Sequence
import json
from pathlib import Path
import shlex
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np

from bayescg import results
from bayescg.files import write_atomically
from bayescg.report.figures import Case, cases_of, lattice_figures
from bayescg.workflow import key_numbers

__all__ = ["write_report"]

BAD_KHAT = 0.7


def write_report(
    idatas: Sequence[Any], path: str | Path, labels: Sequence[str] | None = None
) -> None:
    """Write one self-contained HTML file.

    :param idatas: results; the first is reported on, the others are compared with it.
    :param labels: a name for each.
    :raises ValueError: if no result is given, or the labels do not match.
    """
    if not idatas:
        raise ValueError("a report needs at least one result.")
    labels = [f"result {i + 1}" for i in range(len(idatas))] if labels is None else list(labels)
    if len(labels) != len(idatas):
        raise ValueError(f"{len(idatas)} results but {len(labels)} labels.")
    cases = cases_of(idatas, labels)
    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}):
        figures, missing = lattice_figures(cases)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bayescg.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    html = environment.get_template("report.html").render(
        cases=[_described(c) for c in cases],
        main=_described(cases[0]),
        figures=figures,
        missing=missing,
        aliases=_aliases(cases[0]),
        settings=_settings(cases[0]),
        command=_command(cases[0]),
    )
    with write_atomically(path) as temporary:
        temporary.write_text(html, encoding="utf-8")


def _described(case: Case) -> dict[str, Any]:
    attrs = results.attrs(case.idata)
    messages = attrs.get("messages", "[]")
    messages = json.loads(messages) if isinstance(messages, str) else list(messages)
    numbers = key_numbers(case.idata)
    return {
        "label": case.label,
        "method": case.method,
        "model": attrs.get("model", "?"),
        "approximation": attrs.get("approximation", ""),
        "prior": attrs.get("prior_used", case.options.get("prior", "")),
        "frames": case.frames,
        "converged": bool(int(attrs.get("converged", 0))),
        "ended": attrs.get("ended", ""),
        "worries": [*messages, *_worries(case)],
        "numbers": {k: f"{v:.4g}" if isinstance(v, float) else str(v) for k, v in numbers.items()},
    }


def _worries(case: Case) -> list[str]:
    """What a reader should know before believing the figures."""
    out = []
    if case.has("map", "khat"):
        khat = np.atleast_1d(case.get("map", "khat").values)
        if not np.isfinite(khat).any():
            out.append(
                "log p(x | theta) is not known exactly here, so the Laplace draws carry no importance weights."
            )
    if case.has("posterior_predictive", "magnetization_mcse"):
        error = float(case.get("posterior_predictive", "magnetization_mcse").mean())
        spread = float(
            case.get("posterior_predictive", "magnetization").std(("chain", "draw")).mean()
        )
        if spread > 0 and error > 0.5 * spread:
            out.append(
                f"Monte Carlo error of the predictions ({error:.3g}) is over half of their spread ({spread:.3g}): "
                "the bands are wider than the posterior's."
            )
    if case.method == "nuts":
        found = results.diagnostics(
            results.group(case.idata, "posterior")[["p0"]]
            if case.has("posterior", "p0")
            else results.group(case.idata, "posterior")
        )
        worst = max(float(found["r_hat"][v].max()) for v in found["r_hat"].data_vars)
        least = min(float(found["ess_bulk"][v].min()) for v in found["ess_bulk"].data_vars)
        out.append(
            f"NUTS: largest R-hat {worst:.3f}, smallest bulk effective sample size {least:.0f}."
        )
    return out


def _aliases(case: Case) -> list[tuple[str, str, str]]:
    """Every feature of Eq. 55, the independent one that carries it, and the factor."""
    if not case.has("constant_data", "feature_named"):
        return []
    columns = [
        case.get("constant_data", n).values
        for n in ("feature_named", "alias_of", "alias_coefficient")
    ]
    return [(str(a), str(b) or "constant", f"{c:g}") for a, b, c in zip(*columns, strict=True)]


def _settings(case: Case) -> list[tuple[str, str]]:
    attrs = results.attrs(case.idata)
    rows = [(f"-s {k}", str(v)) for k, v in case.options.items()]
    method = attrs.get("method_options", "{}")
    method = json.loads(method) if isinstance(method, str) else dict(method)
    rows += [(f"-M {k}", str(v)) for k, v in method.items()]
    rows += [
        (k, str(attrs[k]))
        for k in sorted(attrs)
        if k.endswith("_version") or k in ("seed", "data_sha256", "data_source")
    ]
    return rows


def _command(case: Case) -> str:
    """The shell command that repeats the fit."""
    attrs = results.attrs(case.idata)
    words = [
        "bayescg",
        "fit",
        str(attrs.get("model", "MODEL")),
        "-d",
        str(attrs.get("data_source", "data.nc")),
        "-m",
        case.method,
    ]
    for k, v in case.options.items():
        words += ["-s", f"{k}={v}"]
    return shlex.join([*words, "--seed", str(attrs.get("seed", 0)), "-o", "result.nc"])
