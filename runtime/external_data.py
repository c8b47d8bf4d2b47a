"""External data of ONNX graphs: found, and put inline or named anew, so that a backend opens no file unchecked.

A walk over the wire format along the message fields of onnx.proto3 that can hold a TensorProto.
"""

from __future__ import annotations

from collections.abc import Callable

from .errors import BundleError
from .wire import field, fields, varint

__all__ = ["Fetch", "inline_external_data", "locations", "place_of"]

Fetch = Callable[[str, int, int | None], "bytes | memoryview | None"]
"""(file, offset, length) → the bytes to put inside, or None: they stay where they are."""

_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 9, 13, 14
_DEEPEST = 64
_KEY = b"location"
_SHORT = 2**16
"""Bytes; a message of at most so many is not taken apart where it cannot refer to a file: most of them cannot."""


def locations(graph: bytes) -> tuple[str, ...]:
    """Files that the graph's tensors refer to, each once, in order. Raises BundleError for bytes that are not ONNX."""
    seen: dict[str, None] = {}

    def note(file: str, offset: int, length: int | None) -> bytes:
        seen[file] = None
        return b""

    inline_external_data(graph, note)
    return tuple(seen)


def inline_external_data(graph: bytes, fetch: Fetch) -> bytes:
    """The same graph with every external tensor's bytes inside it, as far as `fetch` gives them.

    A tensor that stays outside keeps its location, offset and length and loses whatever else its reference said.
    A graph without external data comes back as it is: a reference needs the key `location` in plain bytes.
    """
    if _KEY not in graph:
        return graph
    out = _Pieces()
    _rewrite(memoryview(graph), "model", fetch, 0, out)
    return out.joined()


class _Pieces:
    """What the new graph is made of, in order: views of the old one and of what was fetched, put together once."""

    def __init__(self) -> None:
        self.parts: list[bytes | memoryview] = []
        self.size = 0

    def add(self, piece: bytes | memoryview) -> None:
        self.parts.append(piece)
        self.size += len(piece)

    def nest(self, number: int, inner: _Pieces) -> None:
        """A field of wire type 2 whose content is `inner`."""
        self.add(varint(number << 3 | 2) + varint(inner.size))
        self.parts += inner.parts
        self.size += inner.size

    def joined(self) -> bytes:
        return b"".join(self.parts)


def _rewrite(data: memoryview, kind: str, fetch: Fetch, depth: int, out: _Pieces) -> None:
    if depth > _DEEPEST:
        raise BundleError("An ONNX graph is nested too deeply", expected=f"at most {_DEEPEST} levels")
    if kind == "tensor":
        _tensor(data, fetch, out)
        return
    inner = _MESSAGES[kind]
    for number, wire, whole, content in fields(data):
        child = inner.get(number) if wire == 2 else None
        if child is None or (len(content) <= _SHORT and _KEY not in bytes(content)):
            out.add(whole)
        else:
            new = _Pieces()
            _rewrite(content, child, fetch, depth + 1, new)
            out.nest(number, new)


def _tensor(data: memoryview, fetch: Fetch, out: _Pieces) -> None:
    place = place_of(data)
    if place is None:
        out.add(data)
        return
    for number, _, whole, _ in fields(data):
        if number not in (_EXTERNAL_DATA, _DATA_LOCATION):
            out.add(whole)
    raw = fetch(*place)
    if raw is not None:
        out.add(varint(_RAW_DATA << 3 | 2) + varint(len(raw)))
        out.add(raw)
        return
    location, offset, length = place
    facts = {"location": location, "offset": str(offset), "length": "" if length is None else str(length)}
    for key, value in facts.items():
        if value:
            out.add(field(_EXTERNAL_DATA, field(1, key.encode()) + field(2, value.encode())))
    out.add(varint(_DATA_LOCATION << 3) + b"\x01")


def place_of(tensor: memoryview) -> tuple[str, int, int | None] | None:
    """(file, offset, length) of a TensorProto whose bytes lie in a file; None of one that has them."""
    entries, external = dict[str, str](), False
    for number, wire, _, content in fields(tensor):
        if number == _EXTERNAL_DATA and wire == 2:
            key, value = _entry(content)
            entries[key] = value
        elif number == _DATA_LOCATION:
            external = external or bytes(content) != b"\x00"
    if not external and not entries:
        return None
    if "location" not in entries:
        raise BundleError("An ONNX tensor is external but names no file", expected="a location inside the bundle")
    return entries["location"], _number(entries, "offset") or 0, _number(entries, "length")


def _entry(data: memoryview) -> tuple[str, str]:
    """A StringStringEntryProto: key is field 1, value is field 2."""
    texts = {number: bytes(content) for number, wire, _, content in fields(data) if wire == 2}
    try:
        return texts.get(1, b"").decode(), texts.get(2, b"").decode()
    except UnicodeDecodeError:
        raise BundleError("An ONNX graph names external data in a text that is not UTF-8") from None


def _number(entries: dict[str, str], key: str) -> int | None:
    text = entries.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise BundleError(f"An ONNX graph has an unusable {key} of external data", found=ascii(text[:40]))
    return int(text)
