"""Models and methods by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
import importlib
import importlib.util
import inspect
import json
from pathlib import Path
import pkgutil
import sys
from types import ModuleType
from typing import Any

import xarray as xr

from bayescg import results
from bayescg.infer.grow_run import GrowOptions, grow
from bayescg.infer.nuts_run import NUTSOptions, nuts
from bayescg.infer.options import options_for
from bayescg.infer.run import MCEMOptions, mcem
from bayescg.infer.smc_run import SMCOptions, smc
from bayescg.infer.svi_run import SVIOptions, svi
from bayescg.io import data_of
from bayescg.limits.arcg import ARCGOptions, arcg
from bayescg.limits.classifier import ClassifierOptions, classifier
from bayescg.limits.dbi import DBIOptions, dbi
from bayescg.limits.force_matching import FMOptions, force_matching
from bayescg.limits.ibi import IBIOptions, ibi
from bayescg.limits.imc import IMCOptions, imc
from bayescg.limits.rem import rem, rem_options
from bayescg.limits.ybg import YBGOptions, ybg
from bayescg.options import parse_options, read_words, with_options
from bayescg.system import System

__all__ = [
    "load_model",
    "make_system",
    "method_names",
    "method_options",
    "model_options",
    "models",
    "run_of",
    "system",
]

PACKAGE = "bayescg_models"


def models() -> list[tuple[str, str]]:
    """Shipped systems: name and a line about each.

    >>> dict(models())["ising_levels"]
    'Ising lattice coarse-grained through several levels of spins (PCG paper, Eq. 71)'
    """
    return [(name, str(load_model(name).SUMMARY)) for name in _shipped()]


def _shipped() -> list[str]:
    return sorted(m.name for m in pkgutil.iter_modules(importlib.import_module(PACKAGE).__path__))


@cache
def load_model(model: str) -> ModuleType:
    """A model's module, by shipped name or by path to a Python file (which is run).

    :param model: the name or the path.
    :raises ValueError: if there is no such model, or the file does not define one.
    """
    if model.endswith(".py"):
        path = Path(model)
        if not path.is_file():
            raise FileNotFoundError(f"no such model file: {model}.")
        spec = importlib.util.spec_from_file_location(f"bayescg_user_{path.stem}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
    elif model in _shipped():
        module = importlib.import_module(f"{PACKAGE}.{model}")
    else:
        raise ValueError(
            f"unknown model {model!r}; known: {', '.join(_shipped())}, or a path/to/file.py."
        )
    missing = [n for n in ("Options", "system", "SUMMARY") if not hasattr(module, n)]
    if missing:
        raise ValueError(f"{model} is not a model: it does not define {', '.join(missing)}.")
    return module


def model_options(model: str) -> Any:
    """A model's options at their defaults.

    :param model: a shipped name, or a path to a Python file.
    """
    return load_model(model).Options()


def make_system(
    model: str,
    words: Sequence[str] = (),
    data: xr.Dataset | None = None,
    method: str | None = None,
) -> System:
    """A model's system under ``key=value`` options, the rest taken from the data where they decide it.

    :param model: a shipped name, or a path to a Python file.
    :param words: ``key=value`` words.
    :param data: from which the model takes what they decide.
    :param method: one whose own defaults, ``METHOD_DEFAULTS`` of the model, come before the model's.
    """
    module = load_model(model)
    suited = getattr(module, "METHOD_DEFAULTS", {}).get(method, {})
    base = with_options(module.Options(), suited, model)
    options = parse_options(base, words, model)
    if data is not None and hasattr(module, "options_from_data"):
        options = parse_options(module.options_from_data(options, data), words, model)
    return _named(_made(module, options, data), model)


def _made(module: ModuleType, options: Any, data: xr.Dataset | None) -> System:
    """A model's system; one whose record depends on the data's topology is given the data."""
    made: System = module.system(options, data) if _takes_data(module) else module.system(options)
    return made


def system(model: str, data: xr.Dataset | None = None, **options: Any) -> System:
    """A named model's system, with its options as keywords.

    :param model: a shipped name, or a path to a Python file.
    :param data: from which the model takes what they decide (sizes, box, temperature).
    :param options: the model's, by name; text is converted.
    :raises ValueError: for an unknown model or option, or a value of the wrong type.

    >>> ising = system("ising", n_f=16, ratio=4, L2=2, L3=0, prior="normal")
    >>> ising.features
    ('field', 'pair_1', 'pair_2')
    >>> system("ising", ratoi=4)
    Traceback (most recent call last):
        ...
    ValueError: unknown option 'ratoi' for ising; did you mean 'ratio'? Known: ...
    """
    return make_system(model, [f"{k}={v}" for k, v in options.items()], data)


def restored_system(result: Any, model: str | None = None, **changes: Any) -> System:
    """The system of a stored result, from its recorded options and what it holds of its data.

    :param result: InferenceData.
    :param model: the model, where it is not found under its recorded name.
    :param changes: options under which the system shall be another.
    """
    attrs = results.attrs(result)
    name = model or str(attrs["model"])
    module = load_model(name)
    values = json.loads(attrs["model_options"]) | changes
    data = None
    if _takes_data(module):
        observed = results.group(result, "observed_data")
        constants = results.group(result, "constant_data")
        data = data_of(constants, observed, {"temperature": values["temperature"]})
    return _named(_made(module, with_options(module.Options(), values, name), data), name)


def _takes_data(module: ModuleType) -> bool:
    return "data" in inspect.signature(module.system).parameters


def _named(system: System, model: str) -> System:
    return replace(system, name=model)


@dataclass(frozen=True)
class _Method:
    options: Callable[[System | None], Any]  # at their defaults, on a system or in general
    make: Callable[..., Any]  # the run, of a system, data, and those options that were given


METHODS = {
    "mcem": _Method(lambda _: MCEMOptions(), mcem),
    "nuts": _Method(lambda _: NUTSOptions(), nuts),
    "svi": _Method(lambda _: SVIOptions(), svi),
    "smc": _Method(lambda _: SMCOptions(), smc),
    "grow": _Method(lambda _: GrowOptions(), grow),
    "rem": _Method(rem_options, rem),
    "imc": _Method(lambda _: IMCOptions(), imc),
    "ibi": _Method(lambda _: IBIOptions(), ibi),
    "dbi": _Method(lambda _: DBIOptions(), dbi),
    "fm": _Method(lambda _: FMOptions(), force_matching),
    "arcg": _Method(lambda _: ARCGOptions(), arcg),
    "classifier": _Method(lambda _: ClassifierOptions(), classifier),
    "ybg": _Method(lambda _: YBGOptions(), ybg),
}


def method_names() -> tuple[str, ...]:
    """Inference methods."""
    return tuple(METHODS)


def method_options(method: str, model: str | None = None) -> Any:
    """A method's options at their defaults; those of ``model`` where one is named.

    :param method: its name.
    :raises ValueError: for an unknown method or model.

    >>> method_options("mcem").tolerance, method_options("mcem", "spce_water").tolerance
    (0.1, 0.25)
    """
    _check_method(method)
    if model is None or _takes_data(load_model(model)):
        return METHODS[method].options(None)  # molecules are known when their data are
    chosen = system(model)
    return options_for(chosen, method, METHODS[method].options(chosen), {})


def _check_method(method: str) -> None:
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}.")


def run_of(method: str, system: System, data: xr.Dataset, words: Sequence[str] = ()) -> Any:
    """A method's run on a system and data, under ``key=value`` options."""
    _check_method(method)
    given = read_words(words, method)
    # Refuses what no option is, before it would be taken for a keyword of the function.
    options_for(system, method, METHODS[method].options(system), given)
    return METHODS[method].make(system, data, **given)
