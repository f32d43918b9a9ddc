"""Text that came from outside, made fit for records, logs and terminals."""

from __future__ import annotations

import re

_SPACES = re.compile("[\t\n\v\f\r\x85\u2028\u2029]+")
_UNSEEN = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0, DEL and C1, so also the escape sequences of terminals
    "\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"  # bidi controls, zero-width and invisible
    "\ufff9-\ufffb\U000e0000-\U000e007f"  # annotations and tags
    "\ud800-\udfff"  # lone surrogates: no encoding takes them
    "]+"
)


def clean(text: str, limit: int = 4096) -> str:
    """One line of visible characters, at most `limit` bytes as UTF-8; a character is never cut in half.

    Line breaks and tabs become a space. Control characters (C0, C1), bidirectional and invisible formatting (Unicode
    categories Cc and Cf that reorder or hide text), NUL and lone surrogates are dropped. Markup is left as it is: it
    is encoded where it is shown.
    """
    visible = _UNSEEN.sub("", _SPACES.sub(" ", text))
    if len(visible) * 4 <= limit:
        return visible
    return visible.encode()[:limit].decode(errors="ignore")


def counted(count: int, word: str) -> str:
    """How many there are, in words: `1 name`, `2 names`."""
    return f"{count} {word}{'' if count == 1 else 's'}"
