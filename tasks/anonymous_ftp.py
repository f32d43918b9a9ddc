"""FTP servers that let anybody in."""

from __future__ import annotations

import re

from footprint.records import Severity
from tasks.checks import Check, Said, Weakness, shown
from tasks.talk import Garbled, Place, Talk

REPLY_LINES = 200
ANONYMOUS = Weakness(
    "ftp-anonymous",
    Severity.MEDIUM,
    "https://www.rfc-editor.org/rfc/rfc1635",
    ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:N/A:N", 5.3),
)


def anonymous_ftp(place: Place) -> Said:
    """Whether `anonymous` may log in (RFC 1635); nothing is listed, and nothing written."""
    with Talk(place) as talk:
        code, said = _reply(talk)
        if code != 220:
            return Said(f"it serves nobody now ({code} {said})")
        code, said = _command(talk, "USER anonymous")
        if code == 331:
            code, said = _command(talk, "PASS anonymous@")
    if code != 230:
        return Said(f"anonymous may not log in ({code} {said})")
    return ANONYMOUS.found("FTP lets anybody in", f"anonymous was let in: {code} {said}")


def _command(talk: Talk, text: str) -> tuple[int, str]:
    talk.say(f"{text}\r\n".encode())
    return _reply(talk)


def _reply(talk: Talk) -> tuple[int, str]:
    """A reply's code and its last line, which begins with the code of the first one and a space (RFC 959, 4.2)."""
    line = talk.line()
    code = line[:3] if re.match(rb"[1-5]\d\d(?:[ -]|$)", line) else b""
    for _ in range(REPLY_LINES):
        if not code or not line:
            break
        if line.startswith(code) and line[3:4] in (b" ", b""):
            return int(code), shown(line[4:], 120)
        line = talk.line()
    raise Garbled("it does not speak FTP")


CHECKS = (Check("ftp", "USER anonymous", anonymous_ftp, names=("ftp", "ftps"), ports=(21,)),)
