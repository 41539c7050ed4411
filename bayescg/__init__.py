"""Bayesian coarse-graining: molecular coarse-grained models as NumPyro generative programs.

Names are loaded when first used, so that importing the package makes no arrays and starts no
backend.
"""

from importlib import import_module
import sys
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Console": "bayescg.console",
    "Derived": "bayescg.system",
    "System": "bayescg.system",
    "adf": "bayescg.observables.liquid",
    "compare": "bayescg.workflow",
    "coordination": "bayescg.observables.liquid",
    "correlation": "bayescg.observables.lattice",
    "critics": "bayescg.critics",
    "divergences": "bayescg.divergences",
    "grow": "bayescg.infer.grow_run",
    "io": "bayescg.io",
    "limits": "bayescg.limits",
    "magnetization": "bayescg.observables.lattice",
    "mcem": "bayescg.infer.run",
    "nuts": "bayescg.infer.nuts_run",
    "observe": "bayescg.workflow",
    "plot": "bayescg.plot",
    "predict": "bayescg.workflow",
    "rdf": "bayescg.observables.liquid",
    "reference_frames": "bayescg.workflow",
    "results": "bayescg.results",
    "save": "bayescg.results",
    "smc": "bayescg.infer.smc_run",
    "svi": "bayescg.infer.svi_run",
    "system": "bayescg.workflow",
    "tetrahedral_order": "bayescg.observables.liquid",
    "to_inference_data": "bayescg.workflow",
}
#: Public names that are whole rooms.
ROOMS = ("critics", "divergences", "io", "limits", "plot", "results")
__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bayescg' has no attribute {name!r}")
    home = import_module(_HOMES[name])
    return home if name in ROOMS else getattr(home, name)


class _Package(ModuleType):
    """This package, whose public names win over submodules of the same name.

    Importing ``bayescg.predict`` would otherwise put that module where the function ``predict`` is.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in ("predict", "system")):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return list(__all__)
