"""How a run ended, in words and numbers."""

from pathlib import Path
from typing import Any

from bayescg.cli.inputs import said
from bayescg.console import Console

__all__ = ["ended", "short"]


def ended(console: Console, result: Any, output: Path) -> tuple[dict[str, Any], str]:
    """Say how a run ended; the summary, and the complaint if it did not converge."""
    from bayescg import results, workflow

    attrs = results.attrs(result)
    messages = said(attrs)
    for message in messages:
        console.say(f"note: {message}")
    numbers = workflow.key_numbers(result)
    console.say(f"wrote {output}: " + ", ".join(f"{k}={short(v)}" for k, v in numbers.items()))
    summary = {"files": [str(output)], "messages": messages, **numbers}
    if int(attrs["converged"]):
        return summary, ""
    return (
        summary,
        f"the fit did not converge ({attrs['ended']}); what it had is in {output}.",
    )


def short(value: Any) -> str:
    """A value as key numbers show it: four digits of what is no integer."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
