"""CPE names in both bindings, versions in order, ranges."""

from __future__ import annotations

import pytest

from footprint.cpe import Cpe, Range, known_as, parse_cpe, version_key


@pytest.mark.parametrize(
    ("text", "cpe"),
    [
        ("cpe:/a:openbsd:openssh:9.2p1", Cpe("a", "openbsd", "openssh", "9.2p1")),
        ("cpe:2.3:a:openbsd:openssh:9.2:p1:*:*:*:*:*:*", Cpe("a", "openbsd", "openssh", "9.2p1")),
        ("cpe:2.3:a:openbsd:openssh:*:*:*:*:*:*:*:*", Cpe("a", "openbsd", "openssh")),
        ("cpe:2.3:a:redis:redis:-:*:*:*:*:*:*:*", Cpe("a", "redis", "redis")),
        ("cpe:/o:linux:linux_kernel", Cpe("o", "linux", "linux_kernel")),
        (r"cpe:2.3:a:joomla:joomla\!:3.4.1:*:*:*:*:*:*:*", Cpe("a", "joomla", "joomla!", "3.4.1")),
        (r"cpe:2.3:a:x:with\:colon:1:*:*:*:*:*:*:*", Cpe("a", "x", "with:colon", "1")),
        ("cpe:2.3:a:jquery:jquery:1.0:*:*:*:*:node.js:*:*", Cpe("a", "jquery", "jquery", "1.0", narrowed=True)),
        ("cpe:/a:Apache:HTTP_Server:2.4.57", Cpe("a", "apache", "http_server", "2.4.57")),
        (
            "cpe:/a:microsoft:internet_information_services:7.5%20x",
            Cpe("a", "microsoft", "internet_information_services", "7.5 x"),
        ),
    ],
)
def test_a_cpe_is_read_from_both_bindings(text: str, cpe: Cpe) -> None:
    assert parse_cpe(text) == cpe


@pytest.mark.parametrize(
    "text", ["", "cpe:", "cpe:/x:a:b", "cpe:/a:only", "cpe:2.3:a:*:*:1", "nginx 1.2", "cpe:/a::b:1"]
)
def test_what_names_no_product_is_no_cpe(text: str) -> None:
    assert parse_cpe(text) is None


ORDER = [
    ("1.9", "1.10"),
    ("2.4.9", "2.4.57"),
    ("1.0rc1", "1.0"),
    ("1.0-beta2", "1.0rc1"),
    ("9.11.0b1", "9.11.0"),
    ("1.0.1", "1.0.1f"),
    ("1.0.1f", "1.0.1g"),
    ("1.0.2b", "1.0.2c"),
    ("9.2", "9.2p1"),
    ("9.2p1", "9.2p2"),
    ("9.9p1", "10.0"),
    ("7.7", "7.7p1"),
]


@pytest.mark.parametrize(("older", "newer"), ORDER)
def test_versions_sort_as_their_makers_count(older: str, newer: str) -> None:
    assert version_key(older) < version_key(newer)


@pytest.mark.parametrize(
    ("one", "other"), [("2.4", "2.4.0"), ("1.0.0", "1"), ("9.2P1", "9.2p1"), ("1.0-rc1", "1.0rc1")]
)
def test_the_same_version_is_written_in_several_ways(one: str, other: str) -> None:
    assert version_key(one) == version_key(other)


@pytest.mark.parametrize(
    ("span", "inside", "outside"),
    [
        (Range(version="2.3.4"), ["2.3.4"], ["2.3.5", "2.3"]),
        (Range(end="7.7", end_included=True), ["7.7", "1.0", "7.6p1"], ["7.8", "7.7.1"]),
        (Range(end="9.6"), ["9.5", "9.5p1"], ["9.6", "9.6p1"]),
        (Range(start="4.87", end="4.91", end_included=True), ["4.87", "4.90", "4.91"], ["4.86", "4.92"]),
        (Range(start="4.87", start_included=False), ["4.88"], ["4.87", "4.86"]),
        (Range(), ["0", "99"], []),
    ],
)
def test_a_range_holds_its_versions_and_no_others(span: Range, inside: list[str], outside: list[str]) -> None:
    assert all(span.holds(version) for version in inside)
    assert not any(span.holds(version) for version in outside)


def test_the_more_exactly_a_range_names_a_version_the_surer_it_is() -> None:
    sure = [Range(version="1"), Range(start="1", end="2"), Range(end="2"), Range()]
    assert [span.confidence for span in sure] == sorted((span.confidence for span in sure), reverse=True)
    assert Range(end="2", conditional=True).confidence < Range(end="2").confidence
    assert Range(end="2", narrowed=True).confidence < Range(end="2").confidence


def test_a_range_is_told_in_words() -> None:
    assert str(Range(start="4.87", end="4.91", end_included=True)) == "from 4.87 up to 4.91"
    assert str(Range(start="1", start_included=False, end="2")) == "after 1 before 2"
    assert str(Range()) == "all versions"
    assert str(Range(version="2.3.4")) == "2.3.4"


def test_a_product_is_looked_up_under_all_its_names() -> None:
    names = [(cpe.vendor, cpe.product, cpe.version) for cpe in known_as(Cpe("a", "igor_sysoev", "nginx", "1.18.0"))]
    assert names == [("igor_sysoev", "nginx", "1.18.0"), ("f5", "nginx", "1.18.0"), ("nginx", "nginx", "1.18.0")]
