"""`python -m chiasm` and the `chiasm` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; errors of chiasm are one line and exit code 2."""
    try:
        from . import cli
    except KeyboardInterrupt:  # Ctrl-C before there is anything that could end in good order
        sys.exit(130)
    cli.main()


if __name__ == "__main__":
    main()
