"""`python -m chiasm` and the `chiasm` command."""

from __future__ import annotations


def main() -> None:
    """Run the command line; errors of chiasm are one line and exit code 2."""
    from . import cli

    cli.main()


if __name__ == "__main__":
    main()
