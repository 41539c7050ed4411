"""``python -m bayescg``."""

from bayescg.cli import main

main()
