"""Which spellings of a target are taken, and that nothing else gets past the one reader."""

# ruff: noqa: RUF001  look-alike characters are what these tests are about

from __future__ import annotations

import random
import re
import unicodedata
from ipaddress import IPv4Address, IPv6Address

import pytest

from footprint.errors import InvalidTarget, PlatformError
from footprint.records import DomainName, Host, Network, subject_of
from footprint.target import MAX_NAME, canonical_address, parse_exclusions, parse_name, parse_target

LABEL_63 = "a" * 63
NAME_253 = ".".join([LABEL_63, LABEL_63, LABEL_63, "a" * 61])

GOOD = {
    "example.com": DomainName("example.com"),
    "EXAMPLE.Com.": DomainName("example.com"),
    "a.b-c.d0.example": DomainName("a.b-c.d0.example"),
    "3com.com": DomainName("3com.com"),
    "1.2.3.4.example.com": DomainName("1.2.3.4.example.com"),
    "r3---sn-x.example.com": DomainName("r3---sn-x.example.com"),
    "bücher.example": DomainName("xn--bcher-kva.example"),
    "BÜCHER.example": DomainName("xn--bcher-kva.example"),
    "XN--BCHER-KVA.example": DomainName("xn--bcher-kva.example"),
    "straße.example": DomainName("xn--strae-oqa.example"),
    "例え。テスト": DomainName("xn--r8jz45g.xn--zckzah"),
    "пример.испытание": DomainName("xn--e1afmkfd.xn--80akhbyknj4f"),
    "ｅｘａｍｐｌｅ．ｃｏｍ": DomainName("example.com"),
    f"{LABEL_63}.example": DomainName(f"{LABEL_63}.example"),
    NAME_253: DomainName(NAME_253),
    f"{NAME_253}.": DomainName(NAME_253),
    "127.0.0.1": Host("127.0.0.1"),
    "0.0.0.0": Host("0.0.0.0"),
    "255.255.255.255": Host("255.255.255.255"),
    "::1": Host("::1"),
    "::": Host("::"),
    "2001:DB8:0:0:0:0:0:1": Host("2001:db8::1"),
    "2001:db8::0001": Host("2001:db8::1"),
    "192.0.2.0/24": Network("192.0.2.0/24"),
    "192.0.2.7/32": Host("192.0.2.7"),
    "2001:DB8::/116": Network("2001:db8::/116"),
    "2001:db8::7/128": Host("2001:db8::7"),
    "0.0.0.0/0": Network("0.0.0.0/0"),
}

OTHER_SPELLINGS_OF_ADDRESSES = [
    "0177.0.0.1",
    "127.1",
    "127.0.1",
    "1.2.3",
    "2130706433",
    "017700000001",
    "0x7f.0.0.1",
    "0x7f000001",
    "0x7f.1",
    "0X7F.0.0.0X1",
    "127.0.0.0x1",
    "127.0.0.01",
    "127.0.0.001",
    "127.0.0.1.",
    "127.0.0.256",
    "256.1.1.1",
    "1.2.3.4.5",
    "127.0.0.1.0",
    "example.1",
    "example.0x",
    "example.com.0x7f",
    "１２７.0.0.1",
    "１２７．０．０．１",
    "127。0。0。1",
    "127｡0｡0｡1",
    "127.0.0.①",
    "①②⑦.⓪.⓪.①",
    "¹²⁷.0.0.1",
    "𝟏𝟐𝟕.𝟎.𝟎.𝟏",
    "0ｘ7f.0.0.1",
    "１２７.0.0.1/32",
    "١٢٧.٠.٠.١",
    "१२७.0.0.१",
    "127.0.0.𝟙",
    "1-254.1.1.1",
    "10.0.0.1-254",
    "10.0.0-255.0-255",
    "10.0.0.-",
    "10.0.0.*",
    "10.0.0.1-",
]

FOREIGN = [
    "",
    ".",
    "..",
    " ",
    "localhost",
    "LOCALHOST.",
    "intranet",
    "ｌｏｃａｌｈｏｓｔ",
    "-iL/etc/passwd",
    "-iL",
    "--script=x.example",
    "-oN.example.com",
    "－iL.example.com",
    "@file",
    "@/etc/passwd.example",
    "+x",
    "+short.example.com",
    ":80",
    ":example.com",
    "::g",
    ":::1",
    "1::2::3",
    "12345::1",
    "::1.",
    "::ffff:0177.0.0.1",
    "::ffff:１２７.0.0.1",
    "::127.1",
    "127.0.0.1%eth0",
    "fe80::1%lo",
    "fe80::1%1",
    "fe80::%25eth0",
    "fe80::1%lo/128",
    "[::1]",
    "[::1]:80",
    "[127.0.0.1]",
    "127.0.0.1:80",
    "x.y:80",
    "example.com:",
    "user@host",
    "user@host.example",
    "user:pass@host.example",
    "http://x.y/",
    "//x.y",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "example.com/24",
    "example.com/",
    "example.com/a/b",
    "/etc/passwd",
    "./x.y",
    "../x.y",
    "10.0.0.0/8 ",
    " 10.0.0.0/8",
    "10.0.0.0/8\n",
    "10.0.0.1/8",
    "10.0.0.0/33",
    "10.0.0.0/-1",
    "10.0.0.0/08",
    "10.0.0.0/٨",
    "10.0.0.0/８",
    "10.0.0.0/+8",
    "10.0.0.0/",
    "10.0.0.0//8",
    "10.0.0.0/8/8",
    "10.0.0.0/255.0.0.0",
    "10.0.0.0/0.255.255.255",
    "10.0.0.0/0x8",
    "10/8",
    "010.0.0.0/8",
    "2001:db8::1/64",
    "2001:db8::/129",
    "/24",
    "a,b",
    "a.example,b.example",
    "a.example;id",
    "a.example b.example",
    "a.example\tb.example",
    "a.example\nb.example",
    "a.example\r\n",
    "a.example\x00",
    "\x00a.example",
    "a\x7f.example",
    "a\x1b[31m.example",
    "a\x85.example",
    "a\u00a0b.example",
    "a\u00ad.example",
    "a\u200b.example",
    "a\u200d.example",
    "a\u2028.example",
    "a\u202e.example",
    "a\u2066b\u2069.example",
    "\ufeffa.example",
    "a\ud800.example",
    "a\ue000.example",
    "a\U000e0041.example",
    "a\u3000b.example",
    "a..example",
    ".example.com",
    "example.com..",
    "a。。example",
    "-a.example",
    "a-.example",
    "a.-example",
    "a.example-",
    "_dmarc.example.com",
    "a_b.example.com",
    "*.example.com",
    "a!b.example",
    "a$(id).example",
    "a`id`.example",
    "a'b.example",
    'a"b.example',
    "a\\b.example",
    "a|b.example",
    "a&b.example",
    "a#b.example",
    "a?b.example",
    "a=b.example",
    "a／b.example",
    "a℀b.example",
    "a＠b.example",
    "a：80",
    "💩.example",
    "xn--.example",
    "xn--a.example",
    "xn--ls8h.example",
    "xn--bcher-.example",
    "xn--a-ecp.xn--",
    "xn---bbk.example",
    "xn--example-.com",
    "xn--0000000000.example",
    "ｘｎ--a.example",
    f"{'a' * 64}.example",
    f"{'ü' * 63}.example",
    f"{NAME_253}a",
    f"a.{NAME_253}",
    "a." * 2000 + "example",
    "ü" * 100_000,
    "1" * 100_000,
]


@pytest.mark.parametrize(("text", "target"), GOOD.items(), ids=ascii)
def test_good_targets_have_one_spelling(text: str, target: DomainName | Host | Network) -> None:
    assert parse_target(text) == target
    assert parse_target(subject_of(target)) == target


@pytest.mark.parametrize("text", OTHER_SPELLINGS_OF_ADDRESSES, ids=ascii)
def test_other_spellings_of_addresses_are_refused_everywhere(text: str) -> None:
    for read in (parse_target, parse_name):
        with pytest.raises(InvalidTarget):
            read(text)
    with pytest.raises(PlatformError):
        parse_exclusions((text,))


@pytest.mark.parametrize("text", FOREIGN, ids=lambda text: ascii(text)[:40])
def test_what_is_no_target_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidTarget) as caught:
        parse_target(text)
    error = caught.value
    assert error.code == "invalid_target"
    assert error.hint
    assert error.__cause__ is None
    assert len(error.detail) < 100
    if len(text) > 3:
        assert text not in str(error)


@pytest.mark.parametrize(
    ("texts", "word"),
    [
        (["-iL", "@file", "+x", "--script=x.example"], "option"),
        (["a\x00.example", "a\t.example", "a b.example", "a\u200b.example", "a\ud800.b", "a\u2028.b"], "invisible"),
        (["a" * 2000, "1" * 2000, "ü" * 2000], "at most 253"),
        (["x.y:80", "127.0.0.1:80"], "port"),
        (["example.com/24", "1.2.3/24", "/24"], "prefix length"),
        (["10.0.0.1/8"], "host bits"),
        (["http://x.y/"], "URL"),
        (["user@host"], "user part"),
        (["fe80::1%lo"], "zone id"),
        (["127.1", "0x7f.1", "1-254.1.1.1", "2130706433"], "four decimal numbers"),
    ],
)
def test_a_refusal_says_what_is_wrong(texts: list[str], word: str) -> None:
    for text in texts:
        with pytest.raises(InvalidTarget) as caught:
            parse_target(text)
        assert word in str(caught.value)


def test_localhost_gets_the_address_as_a_hint() -> None:
    with pytest.raises(InvalidTarget) as caught:
        parse_target("localhost")
    assert "127.0.0.1" in caught.value.hint


def test_no_look_alike_of_a_digit_or_a_dot_smuggles_an_address() -> None:
    alike = [chr(code) for code in range(0x80, 0x20000) if set("0123456789.x") & set(_compatible(code))]
    assert len(alike) > 300
    for character in alike:
        for text in (f"127.0.0.{character}", f"127.0.0{character}1", f"{character}127.0.0.1", f"0{character}7f.0.0.1"):
            assert not _is_accepted(text) or parse_target(text) == DomainName(f"127.0.0.{_compatible(ord(character))}")


def _compatible(code: int) -> str:
    return unicodedata.normalize("NFKC", chr(code)).lower()


def _is_accepted(text: str) -> bool:
    try:
        parse_target(text)
    except InvalidTarget:
        return False
    return True


def test_whatever_is_accepted_is_canonical_and_harmless() -> None:
    dice = random.Random(5)
    alphabet = "aZ.:ß１。0-_/@ \u200b"
    accepted = 0
    for _ in range(20_000):
        text = "".join(dice.choices(alphabet, k=dice.randint(1, 9)))
        if not _is_accepted(text):
            continue
        accepted += 1
        target = parse_target(text)
        subject = subject_of(target)
        assert parse_target(subject) == target
        assert re.fullmatch(r"[0-9a-z:][0-9a-z.:/-]*", subject)
        assert len(subject) <= MAX_NAME
    assert accepted > 50


def test_addresses_are_read_as_the_standard_library_writes_them() -> None:
    dice = random.Random(6)
    for _ in range(500):
        four, six = str(IPv4Address(dice.getrandbits(32))), str(IPv6Address(dice.getrandbits(128)))
        assert parse_target(four) == Host(four)
        assert parse_target(IPv6Address(six).exploded.upper()) == Host(six)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("_dmarc.Example.com.", "_dmarc.example.com"),
        ("_sip._tcp.example.com", "_sip._tcp.example.com"),
        ("a_b.example.com", "a_b.example.com"),
        ("xn--ls8h.example", "xn--ls8h.example"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_found_names_may_be_what_host_names_may_not(text: str, name: str) -> None:
    assert parse_name(text) == name


@pytest.mark.parametrize("text", ["com", "-a.example", "a\\032b.example", "*.example.com", "a..b", "a b.example", ""])
def test_found_names_are_still_names(text: str) -> None:
    with pytest.raises(InvalidTarget):
        parse_name(text)


def test_an_exclusion_list_takes_whole_top_level_domains() -> None:
    entries = parse_exclusions(("mil", "_x.example.com", "192.0.2.0/24", "2001:db8::1"))
    assert entries == (DomainName("mil"), DomainName("_x.example.com"), Network("192.0.2.0/24"), Host("2001:db8::1"))


def test_a_malformed_exclusion_is_counted_not_repeated() -> None:
    with pytest.raises(PlatformError) as caught:
        parse_exclusions(("example.com", "10.0.0.1/8"))
    assert "entry 2" in caught.value.detail
    assert "10.0.0.1" not in str(caught.value)
    assert "PULSAR_SCOPE_EXCLUDE" in caught.value.hint


@pytest.mark.parametrize("text", ["::1%lo", "１.2.3.4", "01.2.3.4", "1.2.3", "example.com", ""])
def test_no_canonical_address(text: str) -> None:
    assert canonical_address(text) is None
