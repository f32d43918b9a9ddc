"""MongoDB asked for its databases' names: one message of its wire protocol (OP_MSG, which 3.6 brought in 2017).

Never by MongoDB's own client: that connects to whichever hosts the server names.
"""

from __future__ import annotations

import struct
from typing import Any

import bson
from bson.codec_options import CodecOptions
from bson.errors import InvalidBSON

from footprint.records import Severity
from tasks.checks import AUTH, Said, Weakness, shown
from tasks.talk import Garbled, Place, Talk

OP_MSG = 2013
HEADER = struct.Struct("<iiii")
"""Length of the message in all, its number, the number that it answers, and its kind."""
SECTION = struct.Struct("<IBi")
"""Flags, the kind of the first section (0: one document), and that document's own length."""
MOST_ANSWER = 64 * 1024
SHOWN = 10
QUESTION = {"listDatabases": 1, "nameOnly": True, "$db": "admin", "$readPreference": {"mode": "primaryPreferred"}}
"""Only users may ask it where there are any. The preference has a replica's secondary answer it too."""
AS_IT_COMES: CodecOptions[dict[str, Any]] = CodecOptions(unicode_decode_error_handler="replace")

OPEN = Weakness(
    "mongodb-open",
    Severity.CRITICAL,
    "https://www.mongodb.com/docs/manual/administration/security-checklist/",
    ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
)


def mongodb(place: Place) -> Said:
    """Whether it names its databases to anybody."""
    with Talk(place) as talk:
        talk.say(message(QUESTION))
        answer = _answer(talk)
    if "ok" not in answer:
        raise Garbled("it does not speak MongoDB's protocol")
    if answer["ok"] != 1:
        reason = shown(answer.get("codeName") or answer.get("errmsg"))
        return Said(f"{AUTH} ({reason})" if answer.get("code") in (13, 18) else f"it refused ({reason})")
    listed = answer.get("databases")
    names = [shown(each.get("name")) for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    listing = ", ".join(names[:SHOWN]) or "none"
    return OPEN.found("MongoDB serves anybody", f"named without a password, its {len(names)} databases: {listing}")


def message(document: dict[str, Any]) -> bytes:
    """A message with one document and no flags."""
    payload = struct.pack("<IB", 0, 0) + bson.encode(document)
    return HEADER.pack(HEADER.size + len(payload), 1, 0, OP_MSG) + payload


def _answer(talk: Talk) -> dict[str, Any]:
    size, _, _, kind = HEADER.unpack(talk.exactly(HEADER.size))
    rest = size - HEADER.size
    if kind != OP_MSG or not SECTION.size < rest <= MOST_ANSWER:
        raise Garbled("it does not speak MongoDB's protocol")
    payload = talk.exactly(rest)
    _, section, length = SECTION.unpack_from(payload)
    start = SECTION.size - 4  # a document's length counts itself
    try:
        return bson.decode(payload[start : start + length], AS_IT_COMES) if section == 0 and length > 0 else {}
    except (InvalidBSON, RecursionError):
        raise Garbled("its answer is no document") from None
