"""How to repeat a fit: the commands, as far as its file holds them."""

import json
import shlex
from typing import Any

from bayescg import results
from bayescg.report.case import Case, number
from bayescg.report.curves import symbol

__all__ = ["commands", "written"]


def written(options: dict[str, Any]) -> list[tuple[str, str]]:
    """Options as the command line reads them."""
    plain = {None: "none", True: "true", False: "false"}
    known = (bool, type(None))
    return [(k, plain[v] if isinstance(v, known) else str(v)) for k, v in options.items()]


def commands(case: Case) -> tuple[list[str], list[str]]:
    """Shell commands that repeat the fit and its predictions, and what they leave open."""
    notes = []
    data = str(case.attrs.get("data_source", "memory"))
    if data == "memory":
        data = "DATA.nc"
        notes.append(_from_memory(case))
    words = ["bayescg", "fit", str(case.attrs.get("model", "MODEL")), "-d", data, "-m", case.method]
    for flag, options in (("-s", case.options), ("-M", case.method_options)):
        for k, v in written(options):
            words += [flag, f"{k}={v}"]
    words += ["--seed", str(case.attrs.get("seed", 0)), "-o", "result.nc"]
    lines = [shlex.join(words)]
    if results.has_group(case.idata, "posterior_predictive"):
        again, more = _prediction(case)
        lines.append(shlex.join(again))
        notes += more
    return lines, notes


def _from_memory(case: Case) -> str:
    text = "The fit was given its data in memory, not as a file: put a file that holds them for DATA.nc"
    if case.dim is not None:
        at = case.sweep
        ends = f"{number(float(at[0]))} to {number(float(at[-1]))}"
        text += f", with the {at.size} values of {symbol(case.dim)} from {ends}"
    if "data_sha256" in case.attrs:
        text += "; the checksum data_sha256 below tells whether they are the same"
    return text + "."


def _prediction(case: Case) -> tuple[list[str], list[str]]:
    """The command that predicts again: from what the file holds, else as far as its shapes tell."""
    words, notes = ["bayescg", "predict", "result.nc"], []
    for observable in _listed(case.attrs.get("predict_observables")):
        words += ["-O", observable]
    sizes = results.group(case.idata, "posterior_predictive").sizes
    draws = case.attrs.get("predict_draws", sizes.get("draw", 1) * sizes.get("chain", 1))
    if not case.is_point:
        words += ["--draws", str(draws)]
    reference = str(case.attrs.get("predict_reference", ""))
    if not reference and results.has_group(case.idata, "reference"):
        reference = "REFERENCE.nc"
        notes.append(
            "The reference was given in memory, not as a file: put a file that holds it for "
            "REFERENCE.nc."
            if "predict_reference" in case.attrs
            else "The file does not name its reference: put the one for REFERENCE.nc."
        )
    if reference:
        words += ["--reference", reference]
    for name, value in case.predicted_under.items():
        words += [f"--{name}", value if isinstance(value, str) else f"{value:g}"]
    if "predict_seed" in case.attrs:
        words += ["--seed", str(case.attrs["predict_seed"])]
    else:
        notes.append(
            "The file does not record the seed and the observables of its predictions: the second "
            "command takes the defaults."
        )
    return words, notes


def _listed(text: Any) -> list[str]:
    """A list that came through netCDF: JSON, or one word."""
    try:
        found = json.loads(text) if isinstance(text, str) and text else text
    except ValueError:
        found = [text]
    if isinstance(found, list | tuple):
        return [str(v) for v in found]
    return [] if found in (None, "") else [str(found)]
