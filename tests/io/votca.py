"""Files of VOTCA that tests write."""

from pathlib import Path


def put(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name
