"""The command line; imports lazily, so that help answers at once."""

from bayescg.cli.commands import cli
from bayescg.cli.process import main

__all__ = ["cli", "main"]
