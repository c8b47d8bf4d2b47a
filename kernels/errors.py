"""The one error of the kernels. The floors above turn it into their own."""

from __future__ import annotations

__all__ = ["KernelError"]


class KernelError(ValueError):
    """An argument that a kernel cannot use: which one, what was found, what was expected."""

    def __init__(self, argument: str, *, found: object, expected: object) -> None:
        self.argument = argument
        self.found = found
        self.expected = expected
        super().__init__(f"{argument}: found {found}, expected {expected}")
