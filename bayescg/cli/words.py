"""Options that several commands have."""

from pathlib import Path

import click

__all__ = ["METHOD_SET", "OBSERVABLES", "OUTPUT", "SEED", "SET"]

OUTPUT = click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="File to write."
)
SET = click.option(
    "-s", "settings", multiple=True, metavar="KEY=VALUE", help="A model option; repeatable."
)
METHOD_SET = click.option(
    "-M", "method_settings", multiple=True, metavar="KEY=VALUE", help="A method option; repeatable."
)
SEED = click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, 2**32 - 1),
    help="Seed; recorded in what is written.",
)
OBSERVABLES = click.option(
    "-O",
    "observables",
    multiple=True,
    metavar="NAME[:key=value,...]",
    help="Observable; repeatable.",
)
