"""A folder of files that is there whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import os
from pathlib import Path
import secrets
import shutil

__all__ = ["check_folder", "new_folder"]


def check_folder(path: str | os.PathLike[str]) -> None:
    """Raise at once what :func:`new_folder` would raise after the work.

    :param path: of the folder that will be made.
    :raises FileExistsError: there is something already, other than an empty folder.
    :raises OSError: no folder can be made there; says why.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        if any(target.iterdir()):
            raise FileExistsError(
                f"cannot write {path}: the folder is not empty; give a new one, or empty it first."
            )
    elif target.exists():
        raise FileExistsError(f"cannot write {path}: it is a file; give the path of a folder.")
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"cannot write {path}: the folder {target.parent} does not exist; make it first."
        )
    probe = _beside(target)
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise OSError(
            f"cannot write {path}: no folder can be made in {target.parent} ({error.strerror})."
        ) from None


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``path`` when the block ends without an error.

    After an error, an interrupt included, nothing is left.

    :raises OSError: as :func:`check_folder`, before the block runs.
    """
    check_folder(path)
    target = Path(os.path.realpath(path))
    part = _beside(target)
    part.mkdir()
    try:
        yield part
        os.replace(part, target)  # an empty folder that is there gives way
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _beside(target: Path) -> Path:
    # A rename is atomic only within a file system.
    return target.with_name(f".{secrets.token_hex(8)}.part")
