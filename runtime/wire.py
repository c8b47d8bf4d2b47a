"""The protobuf wire format (https://protobuf.dev/programming-guides/encoding), as far as ONNX graphs need it.

Field numbers, wherever they are used, are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from .errors import BundleError

__all__ = ["Wire", "field", "fields", "varint"]

Wire = TypeVar("Wire", bytes, memoryview)


def fields(data: Wire) -> Iterator[tuple[int, int, Wire, Wire]]:
    """(field number, wire type, the field with its key, its content) of one message; views of a view."""
    at, end = 0, len(data)
    while at < end:
        start = at
        key, at = _read(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            begin = at
            _, at = _read(data, at)
        elif wire == 2:
            size, begin = _read(data, at)
            at = begin + size
        elif wire in (1, 5):
            begin = at
            at += 8 if wire == 1 else 4
        else:
            raise _broken(f"wire type {wire}")
        if at > end or number == 0:
            raise _broken("a field that runs past the end")
        yield number, wire, data[start:at], data[begin:at]


def _read(data: bytes | memoryview, at: int) -> tuple[int, int]:
    value = 0
    for index in range(10):
        if at + index >= len(data):
            break
        byte = data[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise _broken("an unfinished number")


def field(number: int, content: bytes) -> bytes:
    """A field of wire type 2 (length-delimited)."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _broken(found: str) -> BundleError:
    return BundleError("A graph of the bundle is not ONNX", found=found, expected="a whole ModelProto")
