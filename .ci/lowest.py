"""The lowest versions that pyproject.toml allows, as constraints of pip: `python .ci/lowest.py > lowest.txt`."""

from pathlib import Path
import re
import sys
import tomllib

from packaging.markers import Marker

ROOT = Path(__file__).parents[1]


def lowest() -> list[str]:
    """One `name==version` for each dependency of this interpreter that states a lowest version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = []
    for line in project["dependencies"]:
        requirement, _, marker = line.partition(";")
        if marker and not Marker(marker.strip()).evaluate():
            continue
        match = re.match(r"([A-Za-z0-9_.-]+).*?>=\s*([\w.]+)", requirement)
        if match is None:
            sys.exit(f"{line!r} states no lowest version.")
        found.append(f"{match[1]}=={match[2]}")
    return found


if __name__ == "__main__":
    print("\n".join(lowest()))
