"""Input of the commands, read with errors that name the file."""

from collections.abc import Mapping, Sequence
import json
from pathlib import Path
from typing import Any

__all__ = ["load_result", "model_file", "named_files", "read_model", "said"]

#: Root attributes without which a result cannot be worked with.
NEEDED = ("model", "model_options", "converged", "ended")


def model_file(model: str | None) -> str | None:
    """The path, where a model is named by one."""
    return model if model is not None and model.endswith(".py") else None


def named_files(settings: Sequence[str]) -> list[str]:
    """The paths among the values of ``key=value`` settings: files that there are."""
    values = [word.partition("=")[2] for word in settings]
    return [v for v in values if v and Path(v).is_file()]


def read_model(model: str) -> None:
    """Run a model's file, so that what is wrong in it is said with its line.

    :raises ValueError: the file cannot be run, or defines no model.
    :raises FileNotFoundError: there is no such file.
    """
    from bayescg import workflow

    if model_file(model) is None:
        return
    with workflow.mended_by_author(model, runs=True):
        workflow.load_model(model)


def load_result(path: Path) -> Any:
    """Read a result that is going to be worked with, not only shown.

    :raises ValueError: it is none, or lacks attributes.
    """
    from bayescg import results

    result = results.load(path)
    attrs = results.attrs(result)
    allowed = "allowed is a file that `bayescg fit` or `bayescg predict` wrote."
    missing = [name for name in NEEDED if name not in attrs]
    if missing:
        raise ValueError(
            f"{path} is not a whole result of bayescg: the root attributes {', '.join(missing)} "
            f"are missing; {allowed}"
        )
    try:
        options = json.loads(str(attrs["model_options"]))
    except ValueError:
        options = None
    for name, right in (
        ("model_options", isinstance(options, Mapping)),
        ("converged", attrs["converged"] in (0, 1)),
    ):
        if not right:
            raise ValueError(
                f"{path} is not a result of bayescg: the root attribute {name} is "
                f"{attrs[name]!r}; {allowed}"
            )
    read_model(str(attrs["model"]))
    return result


def said(attrs: Mapping[str, Any]) -> list[str]:
    """What fit and prediction had to say, from the attributes of their result."""
    from bayescg import results

    return results.told(attrs, "messages") + results.told(attrs, "predict_messages")
