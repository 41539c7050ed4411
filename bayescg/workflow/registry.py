"""Models and methods by name."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass, replace
from functools import cache
import importlib
import importlib.util
import inspect
import json
import os
from pathlib import Path
import pkgutil
import sys
import traceback
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
    "chosen_options",
    "load_model",
    "make_system",
    "mended_by_author",
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


@contextmanager
def mended_by_author(model: str, *, runs: bool = False) -> Iterator[None]:
    """Say what is wrong in a model's own file with its line, in place of an error from somewhere.

    :param model: a shipped name, whose errors pass, or the path of a file.
    :param runs: the file itself is run; else ValueError is its answer to options or data, and passes.
    :raises ValueError: the file raised what is no answer to bad input, or ended the program.
    """
    try:
        yield
    except (KeyboardInterrupt, NotImplementedError, MemoryError):
        raise
    except BaseException as error:
        worded = isinstance(error, ValueError | OSError) and not isinstance(error, UnicodeError)
        line = _line(error, model)
        if not model.endswith(".py") or (worded and (line is None or not runs)):
            raise
        text = error.msg if isinstance(error, SyntaxError) and _is(error, model) else str(error)
        where = model if line is None else f"{model}, line {line}"
        raise ValueError(f"{where}: {type(error).__name__}{': ' if text else ''}{text}") from error


def _is(error: SyntaxError, path: str) -> bool:
    return error.filename is not None and _same(error.filename, path)


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _line(error: BaseException, path: str) -> int | None:
    """The line of a file that an error comes from; None if from elsewhere."""
    if isinstance(error, SyntaxError) and _is(error, path):
        return error.lineno
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if _same(f.filename, path)]
    return lines[-1] if lines else None


def model_options(model: str) -> Any:
    """A model's options at their defaults.

    :param model: a shipped name, or a path to a Python file.
    """
    return _options(load_model(model), model)


def _options(module: ModuleType, model: str) -> Any:
    with mended_by_author(model):
        made = module.Options()
        if not is_dataclass(made):
            raise ValueError(f"{model}: Options() is no dataclass, which the options are read by.")
        return made


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
    return _made(load_model(model), chosen_options(model, words, data, method), data, model)


def chosen_options(
    model: str,
    words: Sequence[str] = (),
    data: xr.Dataset | None = None,
    method: str | None = None,
) -> Any:
    """A model's options under ``key=value`` words: its defaults, those for a method, what data decide, the words.

    :param model: a shipped name, or a path to a Python file; the others as for :func:`make_system`.
    """
    module = load_model(model)
    suited = getattr(module, "METHOD_DEFAULTS", {}).get(method, {})
    base = with_options(_options(module, model), suited, model)
    options = parse_options(base, words, model)
    if data is not None and hasattr(module, "options_from_data"):
        with mended_by_author(model):
            found = module.options_from_data(options, data)
        options = parse_options(found, words, model)
    return options


def _made(module: ModuleType, options: Any, data: xr.Dataset | None, model: str) -> System:
    """A model's system; one whose record depends on the data's topology is given the data."""
    with mended_by_author(model):
        made = module.system(options, data) if _takes_data(module) else module.system(options)
        if not isinstance(made, System):
            raise ValueError(
                f"{model}: system() gives a {type(made).__name__}; allowed is a bayescg.System."
            )
    return replace(made, name=model)


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
    return _made(module, with_options(_options(module, name), values, name), data, name)


def _takes_data(module: ModuleType) -> bool:
    return "data" in inspect.signature(module.system).parameters


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
