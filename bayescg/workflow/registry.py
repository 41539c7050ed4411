"""Models and methods by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
import importlib
import importlib.util
from pathlib import Path
import pkgutil
import sys
from types import ModuleType
from typing import Any

import xarray as xr

from bayescg.infer.nuts_run import NUTS, NUTSOptions
from bayescg.infer.options import options_for
from bayescg.infer.run import MCEM, MCEMOptions
from bayescg.limits.rem import REMOptions, rem
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
    """Shipped systems: name and a line about each."""
    return [(name, str(load_model(name).SUMMARY)) for name in _shipped()]


def _shipped() -> list[str]:
    return sorted(m.name for m in pkgutil.iter_modules(importlib.import_module(PACKAGE).__path__))


@cache
def load_model(model: str) -> ModuleType:
    """A model's module, by shipped name or by path to a Python file (which is run).

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
    """A model's options at their defaults."""
    return load_model(model).Options()


def make_system(model: str, words: Sequence[str] = (), data: xr.Dataset | None = None) -> System:
    """A model's system under ``key=value`` options, the rest taken from the data where they decide it."""
    module = load_model(model)
    options = parse_options(module.Options(), words, model)
    if data is not None and hasattr(module, "options_from_data"):
        options = parse_options(module.options_from_data(options, data), words, model)
    return _named(module.system(options), model)


def system(model: str, data: xr.Dataset | None = None, **options: Any) -> System:
    """A named model's system, with its options as keywords.

    :raises ValueError: for an unknown model or option, or a value of the wrong type.
    """
    return make_system(model, [f"{k}={v}" for k, v in options.items()], data)


def restored_system(model: str, values: dict[str, Any]) -> System:
    """The system of a stored result, from its recorded options."""
    module = load_model(model)
    return _named(module.system(with_options(module.Options(), values, model)), model)


def _named(system: System, model: str) -> System:
    from dataclasses import replace

    return replace(system, name=model)


@dataclass(frozen=True)
class _Method:
    options: type
    make: Callable[[System, xr.Dataset, Any], Any]


METHODS = {
    "mcem": _Method(MCEMOptions, lambda system, data, o: MCEM(system, data, o)),
    "nuts": _Method(NUTSOptions, lambda system, data, o: NUTS(system, data, o)),
    "rem": _Method(REMOptions, lambda system, data, o: rem(system, data, **vars(o))),
}


def method_names() -> tuple[str, ...]:
    """Inference methods."""
    return tuple(METHODS)


def method_options(method: str, model: str | None = None) -> Any:
    """A method's options at their defaults; those of ``model`` where one is named.

    :raises ValueError: for an unknown method or model.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known: {', '.join(METHODS)}.")
    base = METHODS[method].options()
    return base if model is None else options_for(system(model), method, base, {})


def run_of(method: str, system: System, data: xr.Dataset, words: Sequence[str] = ()) -> Any:
    """A method's run on a system and data, under ``key=value`` options."""
    options = options_for(system, method, method_options(method), read_words(words, method))
    return METHODS[method].make(system, data, options)
