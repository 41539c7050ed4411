"""A run that is cut off goes on where it was: the state of its loops, kept in one file.

A loop asks for its place in the run (:func:`place`), goes on from what that place holds, and offers its state at the
start of every turn. Now and then all states are written, by rename, so that a file is whole or is the one before. What
a loop does from a state on depends on nothing else: a run that goes on ends where it would have ended, to the last bit
on the same machine. Outside :func:`keeping` all of this does nothing.

The file is a NumPy archive without pickled objects. Beside the arrays it holds, as JSON, how they are nested, and which
run they are of: model, options, seed, data, versions. Another run is refused, in words.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass
import importlib
import json
import os
from pathlib import Path
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bayescg.devices import agreed, fetched, is_first
from bayescg.files import write_atomically

__all__ = ["NOWHERE", "CheckpointError", "Place", "interrupted", "keeping", "place"]

EVERY = 120.0  # s between two writes; BAYESCG_CHECKPOINT in the environment is another number
FORMAT = 1
KEY = "prng key"
_REASON = 200  # characters of what is wrong with a file


class CheckpointError(ValueError):
    """A checkpoint that cannot be gone on from."""


class _File:
    """All places of a run, and where they are written.

    :param identity: what a run is; a checkpoint of another is refused.
    """

    def __init__(self, path: Path, identity: Mapping[str, str], every: float) -> None:
        self.path, self.identity, self.every = path, dict(identity), every
        self.places: dict[str, Any] = {}
        self.named: dict[str, int] = {}
        self.written = time.monotonic()
        self.trouble = ""  # what kept the last write from being made
        self.closed = False  # by an interrupt: what comes after it is not kept
        self.own = False  # whether what is there is of this run

    def load(self) -> None:
        """:raises CheckpointError: where there is none, or it is broken, or of another run."""
        if not self.path.is_file():
            raise CheckpointError(
                f"there is no checkpoint {self.path} to resume from; leave --resume out to start."
            )
        try:
            with open(self.path, "rb") as file, np.load(file, allow_pickle=False) as held:
                about = json.loads(str(held["about"]))
                arrays = [held[f"a{i}"] for i in range(about["arrays"])]
            if about["format"] != FORMAT:
                raise ValueError(f"format {about['format']}")
            identity = {str(k): str(v) for k, v in about["identity"].items()}
            self.places = {k: _decoded(v, arrays) for k, v in about["places"].items()}
        except (
            Exception
        ) as error:  # of many kinds: archives, compression, JSON and arrays may be broken
            reason = " ".join(str(error).split())[:_REASON] or type(error).__name__
            raise CheckpointError(
                f"{self.path} is no checkpoint that can be read ({reason}); leave --resume out to start anew."
            ) from None
        for name in sorted({*identity, *self.identity}):
            there, here = identity.get(name, "none"), self.identity.get(name, "none")
            if there != here:
                raise CheckpointError(
                    f"{self.path} is of another run: its {name} is {_short(there)}, and this one's {_short(here)}; "
                    "resume with what it began with, or leave --resume out to start anew."
                )

    def write(self) -> None:
        """Write all places; what hinders it is remembered and does not end the run."""
        self.written = time.monotonic()
        if not is_first():
            return
        arrays: list[np.ndarray] = []
        try:
            places = {k: _encoded(v, arrays) for k, v in self.places.items()}
            about = {
                "format": FORMAT,
                "identity": self.identity,
                "arrays": len(arrays),
                "places": places,
            }
            with write_atomically(self.path) as part, open(part, "wb") as out:
                np.savez(
                    out,
                    about=np.array(json.dumps(about)),
                    **{f"a{i}": a for i, a in enumerate(arrays)},  # type: ignore[arg-type]
                )
                out.flush()
                os.fsync(out.fileno())
                if not self.own and self.path.is_file():  # of a fit that was cut off
                    self.path.replace(self.path.with_name(self.path.name + ".old"))
            self.trouble, self.own = "", True
        except (OSError, MemoryError, TypeError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            self.trouble = f"the checkpoint {self.path} could not be written: {reason}"


class Place:
    """Where one loop of a run keeps its state."""

    def __init__(self, file: _File | None, name: str) -> None:
        self._file, self._name = file, name

    def resumed(self) -> Any | None:
        """The state that was kept, its arrays those of NumPy; None where there is none."""
        return None if self._file is None else self._file.places.get(self._name)

    def keep(self, state: Any) -> None:
        """Offer a state of nested mappings, lists, tuples, named tuples and dataclasses; it may be written now."""
        file = self._file
        if file is None or file.closed:
            return
        due = time.monotonic() - file.written > file.every
        if jax.process_count() > 1:
            # What is cut over processes has to be gathered by all of them at once, while all are there.
            due = agreed(due)
            if not due:
                return
            state = jax.tree.map(_gathered, state)
        file.places[self._name] = state
        if due:
            file.write()

    def forget(self) -> None:
        """Drop what is kept here: the loop is over, and what it found is kept elsewhere."""
        if self._file is not None and not self._file.closed:
            self._file.places.pop(self._name, None)


#: Keeps nothing.
NOWHERE = Place(None, "")

_current: ContextVar[_File | None] = ContextVar("checkpoint", default=None)


def interrupted() -> None:
    """Write all states as they are, and take no more: what follows is made of a loop that has not ended.

    To be called by whoever answers a KeyboardInterrupt by going on with what there is.
    """
    file = _current.get()
    if file is None or file.closed:
        return
    if jax.process_count() == 1:
        file.write()
    file.closed = True


def place(name: str) -> Place:
    """The next place of this name in the run: loops of one name are told apart by their order."""
    file = _current.get()
    if file is None:
        return Place(None, name)
    count = file.named[name] = file.named.get(name, 0) + 1
    return Place(file, f"{name} {count}")


@contextmanager
def keeping(
    path: Path | None, identity: Mapping[str, str], *, resume: bool = False
) -> Iterator[_File | None]:
    """Keep the states of what runs inside in ``path``; all are written once more when it ends by an exception.

    :param identity: what the run is.
    :param resume: go on from what ``path`` holds.
    :raises CheckpointError: if that cannot be.
    """
    if path is None:
        yield None
        return
    file = _File(path, identity, float(os.environ.get("BAYESCG_CHECKPOINT") or EVERY))
    if resume:
        file.load()
        file.own = True
    token = _current.set(file)
    try:
        yield file
    except BaseException:
        if file.places and not file.closed and jax.process_count() == 1:
            file.write()
        raise
    finally:
        _current.reset(token)


def _gathered(leaf: Any) -> Any:
    """An array that is cut over processes, in the memory of each."""
    if not isinstance(leaf, jax.Array):
        return leaf
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(fetched(jax.random.key_data(leaf))))
    return fetched(leaf)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _encoded(tree: Any, arrays: list[np.ndarray]) -> Any:
    """A tree as JSON that names arrays by their number, which are added to ``arrays``."""
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        kind = type(tree)
        return {
            "named": f"{kind.__module__}:{kind.__qualname__}",
            "of": [_encoded(v, arrays) for v in tree],
        }
    if is_dataclass(tree) and not isinstance(tree, type):
        return {
            "data": f"{type(tree).__module__}:{type(tree).__qualname__}",
            "of": {f.name: _encoded(getattr(tree, f.name), arrays) for f in fields(tree) if f.init},
        }
    if isinstance(tree, tuple | list):
        return {type(tree).__name__: [_encoded(v, arrays) for v in tree]}
    if isinstance(tree, Mapping) and not all(isinstance(k, str) for k in tree):
        return {"pairs": [[_encoded(k, arrays), _encoded(v, arrays)] for k, v in tree.items()]}
    if isinstance(tree, Mapping):
        return {"dict": {k: _encoded(v, arrays) for k, v in tree.items()}}
    if isinstance(tree, jax.Array) and jax.dtypes.issubdtype(tree.dtype, jax.dtypes.prng_key):
        arrays.append(np.asarray(fetched(jax.random.key_data(tree))))
        return {KEY: len(arrays) - 1}
    array = np.asarray(fetched(tree))
    if array.dtype == object:
        if not all(isinstance(word, str) for word in array.ravel()):
            raise TypeError(f"no {type(tree).__name__} can be kept in a checkpoint")
        array = array.astype(str)
    arrays.append(array)
    return {"array": len(arrays) - 1}


def _decoded(spec: Any, arrays: list[np.ndarray]) -> Any:
    if not isinstance(spec, dict):
        return spec
    if "array" in spec:
        return arrays[spec["array"]]
    if KEY in spec:
        return jax.random.wrap_key_data(jnp.asarray(arrays[spec[KEY]]))
    if "dict" in spec:
        return {k: _decoded(v, arrays) for k, v in spec["dict"].items()}
    if "pairs" in spec:
        return {_decoded(k, arrays): _decoded(v, arrays) for k, v in spec["pairs"]}
    if "named" in spec:
        return _class(spec["named"])(*(_decoded(v, arrays) for v in spec["of"]))
    if "data" in spec:
        return _class(spec["data"])(**{k: _decoded(v, arrays) for k, v in spec["of"].items()})
    kind, of = next(iter(spec.items()))
    items = [_decoded(v, arrays) for v in of]
    return tuple(items) if kind == "tuple" else items


def _class(name: str) -> Any:
    """A named tuple or dataclass of this package, or of those it samples by: nothing else that a file says is run."""
    module, _, path = name.partition(":")
    if module.partition(".")[0] not in ("bayescg", "numpyro", "optax") or "." in path:
        raise ValueError(f"{name} is none of this package's states")
    found = getattr(importlib.import_module(module), path, None)
    named = isinstance(found, type) and issubclass(found, tuple) and hasattr(found, "_fields")
    if not (named or (isinstance(found, type) and is_dataclass(found))):
        raise ValueError(f"{name} is no named tuple")
    return found
