from __future__ import annotations

import pytest

from footprint.text import clean, counted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx 1.22.1 (Ubuntu) · ümläut 日本", "nginx 1.22.1 (Ubuntu) · ümläut 日本"),
        ("a\x1b[31mred\x1b]0;title\x07b", "a[31mred]0;titleb"),
        ("nul\x00c1\x9b31mdel\x7f", "nulc131mdel"),
        ("one\r\ntwo\tthree\u2028four\x85five", "one two three four five"),
        ("user\u202egpj.exe\u2066x\u2069\u200f\u061c", "usergpj.exex"),
        ("zero\u200bwidth\ufeff\u2060tag\U000e0041", "zerowidthtag"),
        ("lone\ud800sur\udfffrogate", "lonesurrogate"),
        ("<b>&amp;`|x|'\"", "<b>&amp;`|x|'\""),
        ("", ""),
    ],
)
def test_only_visible_characters_are_left(text: str, expected: str) -> None:
    assert clean(text) == expected


@pytest.mark.parametrize(("limit", "expected"), [(0, ""), (1, "a"), (2, "a"), (3, "aé"), (6, "aé日"), (7, "aé日b")])
def test_the_limit_is_in_bytes_and_cuts_no_character(limit: int, expected: str) -> None:
    assert clean("aé日b", limit) == expected


def test_a_field_is_4_kb_unless_told() -> None:
    assert len(clean("x" * 10_000)) == 4096


def test_what_is_dropped_does_not_count() -> None:
    assert clean("\x00" * 10_000 + "seen", 4) == "seen"


def test_every_code_point_can_be_stored() -> None:
    everything = "".join(map(chr, range(0x110000)))
    kept = clean(everything, 10_000_000)
    assert kept.encode().decode() == kept
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in kept)


def test_one_is_not_many() -> None:
    assert [counted(number, "name") for number in (0, 1, 2)] == ["0 names", "1 name", "2 names"]
