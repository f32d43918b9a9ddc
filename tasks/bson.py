"""As much of BSON and of MongoDB's wire protocol as two commands take (bsonspec.org 1.1; OP_MSG, opcode 2013)."""

from __future__ import annotations

import struct
from typing import Any

OP_MSG = 2013
HEADER = 16
MOST_DEPTH = 20

_FIXED = {0x01: "<d", 0x08: "<?", 0x09: "<q", 0x10: "<i", 0x11: "<Q", 0x12: "<q"}
_EMPTY = (0x06, 0x0A, 0x7F, 0xFF)


class NotBson(ValueError):
    """The bytes are no document."""


def command(name: str, number: int, **more: bool) -> bytes:
    """A message that runs a command of this name on the database `admin`."""
    body = b"\x10" + name.encode() + b"\0" + struct.pack("<i", 1)
    body += b"".join(b"\x08" + key.encode() + b"\0" + struct.pack("<?", value) for key, value in more.items())
    body += b"\x02$db\0" + struct.pack("<i", 6) + b"admin\0"
    document = struct.pack("<i", len(body) + 5) + body + b"\0"
    payload = struct.pack("<IB", 0, 0) + document
    return struct.pack("<iiii", HEADER + len(payload), number, 0, OP_MSG) + payload


def length_of(header: bytes) -> int:
    """How many bytes follow a message's header. Raises `NotBson` where it is none of an answer's."""
    size, _, _, opcode = struct.unpack("<iiii", header)
    if opcode != OP_MSG or size < HEADER + 10:
        raise NotBson("no OP_MSG")
    return int(size) - HEADER


def document_of(payload: bytes) -> dict[str, Any]:
    """The document of an answer's first section. Raises `NotBson`."""
    try:
        return _document(payload[5:], 0)[0]
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise NotBson(str(error)) from None


def _document(data: bytes, depth: int) -> tuple[dict[str, Any], int]:
    """A document and how long it is."""
    (size,) = struct.unpack_from("<i", data)
    if not 5 <= size <= len(data) or depth > MOST_DEPTH:
        raise NotBson("a document of no sound length")
    found: dict[str, Any] = {}
    at = 4
    while data[at]:
        kind, end = data[at], data.index(b"\0", at + 1)
        name = data[at + 1 : end].decode()
        found[name], at = _value(kind, data, end + 1, depth)
    return found, size


def _value(kind: int, data: bytes, at: int, depth: int) -> tuple[Any, int]:
    """A value and where the next begins."""
    if kind in _FIXED:
        return struct.unpack_from(_FIXED[kind], data, at)[0], at + struct.calcsize(_FIXED[kind])
    if kind in (0x03, 0x04):
        found, size = _document(data[at:], depth + 1)
        return (list(found.values()) if kind == 0x04 else found), at + size
    if kind == 0x02:
        (size,) = struct.unpack_from("<i", data, at)
        if size < 1:
            raise NotBson("a string of no sound length")
        return data[at + 4 : at + 3 + size].decode(errors="replace"), at + 4 + size
    if kind == 0x05:
        (size,) = struct.unpack_from("<i", data, at)
        if size < 0:
            raise NotBson("bytes of no sound length")
        return data[at + 5 : at + 5 + size], at + 5 + size
    if kind == 0x07:
        return data[at : at + 12].hex(), at + 12
    if kind in _EMPTY:
        return None, at
    raise NotBson("a type that no answer here has")
