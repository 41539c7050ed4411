"""How many mutated inputs there are, and what came of each: counted once, however often it is drawn."""

from collections import Counter
from hashlib import sha256
import os

SHORT = 300  # in the default lane, all readers and commands together
LONG = 7000  # with -m slow, unless BAYESCG_MUTATIONS says otherwise; of them 5,000 and more are different
#: The last: answered only by a process that had read nothing before.
OUTCOMES = ("accepted", "refused", "bug", "crash", "hang", "alone")

_counts: dict[str, Counter[str]] = {}
_seen: set[tuple[str, str]] = set()


def budget(slow: bool) -> int:
    """Mutated inputs of all tests of a lane together."""
    return int(os.environ.get("BAYESCG_MUTATIONS", LONG)) if slow else SHORT


def is_new(name: str, content: bytes) -> bool:
    """Whether an input has not been counted for this reader yet."""
    mark = name, sha256(content).hexdigest()
    if mark in _seen:
        return False
    _seen.add(mark)
    return True


def count(name: str, outcome: str, alone: bool = False) -> None:
    """Count an outcome.

    :param alone: it came of a new process only, after an old one had crashed or gone silent.
    """
    found = _counts.setdefault(name, Counter())
    found[outcome] += 1
    found["alone"] += alone


def table() -> list[str]:
    """Lines of the counts by reader and outcome; none where nothing was counted."""
    if not _counts:
        return []
    rows = [("", "inputs", *OUTCOMES)]
    total: Counter[str] = Counter()
    for name, found in sorted(_counts.items()):
        total += found
        rows.append((name, str(found.total() - found["alone"]), *(str(found[o]) for o in OUTCOMES)))
    rows.append(("all", str(total.total() - total["alone"]), *(str(total[o]) for o in OUTCOMES)))
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(
            c.ljust(w) if not k else c.rjust(w)
            for k, (c, w) in enumerate(zip(r, widths, strict=True))
        )
        for r in rows
    ]


def totals() -> dict[str, Counter[str]]:
    """Outcomes by reader and command."""
    return _counts
