"""What may be touched: special-purpose space, exclusions, label boundaries, aliases."""

from __future__ import annotations

import random
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest

from footprint.address_space import Span, carried_ipv4, special_purpose
from footprint.errors import PlatformError, TargetRefused
from footprint.records import DomainName, Finding, Host, Network, Record, Service
from footprint.scope import Decision, Scope
from footprint.target import Target, parse_target

ROOT = DomainName("example.com")
ORDINARY = ["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.32.0.0", "192.0.1.0", "223.255.255.255"]
ORDINARY_V6 = ["2600::1", "2001:200::1", "2a00:1450::1", "2620:4f:8001::1", "2003::1"]

SPECIAL = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.31.196.1",
    "192.52.193.1",
    "192.88.99.1",
    "192.168.1.1",
    "192.175.48.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::2",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::8.8.8.8",
    "::127.0.0.1",
    "::ffff:0:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "64:ff9b::127.0.0.1",
    "64:ff9b:1::1",
    "100::1",
    "100:0:0:1::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:30::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "2620:4f:8000::1",
    "3fff::1",
    "5f00::1",
    "4000::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]


def scope_of(
    target: Target | str,
    *,
    allow: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    max_addresses: int = 4096,
) -> Scope:
    target = parse_target(target) if isinstance(target, str) else target
    allowed = tuple(ip_network(cidr) for cidr in allow)
    return Scope.for_target(target, allow=allowed, exclude=exclude, max_addresses=max_addresses)


def admits(scope: Scope, text: str) -> bool:
    try:
        scope.admit(parse_target(text))
    except TargetRefused:
        return False
    return True


@pytest.mark.parametrize("address", SPECIAL)
def test_special_purpose_addresses_are_refused_by_every_way(address: str) -> None:
    host = Host(str(ip_address(address)), name="example.com")
    scope = scope_of(ROOT)
    assert not admits(scope, host.address)
    assert "special-purpose" in scope.decide(host).rule
    assert "special-purpose" in scope.decide(Service(host.address, 80)).rule
    as_root = Scope.for_target(Host(host.address))
    assert not as_root.decide(Host(host.address)).touch


@pytest.mark.parametrize("address", ORDINARY + ORDINARY_V6)
def test_ordinary_addresses_are_admitted(address: str) -> None:
    scope = scope_of(address)
    assert admits(scope, address)
    assert scope.decide(Host(address)) == Decision(touch=True)
    assert scope.decide(Service(address, 443)).touch


def test_nothing_the_standard_library_knows_as_special_is_ordinary_here() -> None:
    dice = random.Random(7)
    seen = 0
    for _ in range(20_000):
        six = dice.getrandbits(128) & ((1 << dice.choice((32, 64, 100, 128))) - 1)
        for address in (ip_address(dice.getrandbits(32)), IPv6Address(six)):
            if address.is_private or address.is_multicast or address.is_reserved or address.is_link_local:
                seen += 1
                assert special_purpose(Span.of(str(address))), address
    assert seen > 1000


@pytest.mark.parametrize(
    ("address", "carried"),
    [
        ("::ffff:10.1.2.3", ["10.1.2.3"]),
        ("::10.1.2.3", ["10.1.2.3"]),
        ("64:ff9b::10.1.2.3", ["10.1.2.3"]),
        ("64:ff9b:1::10.1.2.3", ["10.1.2.3"]),
        ("2002:a01:203::1", ["10.1.2.3"]),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", ["65.54.227.120", "192.0.2.45"]),
        ("::1", []),
        ("::", []),
        ("2600::1", []),
        ("10.1.2.3", []),
    ],
)
def test_ipv4_inside_ipv6_is_unwrapped(address: str, carried: list[str]) -> None:
    assert [str(each) for each in carried_ipv4(ip_address(address))] == carried


def test_an_allowed_carrier_does_not_smuggle_what_it_carries() -> None:
    scope = scope_of("64:ff9b::808:808", allow=("64:ff9b::/96",), exclude=("9.9.9.0/24",))
    assert admits(scope, "64:ff9b::808:808")
    assert not admits(scope, "64:ff9b::7f00:1"), "loopback"
    assert not admits(scope, "64:ff9b::909:909"), "excluded"
    assert not admits(scope, "64:ff9b::/116"), "a network of carriers cannot be judged address by address"


def test_allowing_loopback_does_not_allow_its_other_spellings() -> None:
    scope = scope_of("127.0.0.1", allow=("127.0.0.0/8", "::1/128"))
    for text in ("127.0.0.1", "127.3.0.0/20", "::1"):
        assert admits(scope, text), text
    for text in ("::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "::2", "169.254.169.254"):
        assert not admits(scope, text), text


@pytest.mark.parametrize(
    ("target", "allow", "admitted"),
    [
        ("8.8.8.0/24", (), True),
        ("8.8.0.0/20", (), True),
        ("8.8.0.0/19", (), False),
        ("2600::/116", (), True),
        ("2600::/115", (), False),
        ("0.0.0.0/0", (), False),
        ("::/0", (), False),
        ("192.0.0.0/22", (), False),
        ("100.63.240.0/20", (), True),
        ("100.64.0.0/24", (), False),
        ("10.0.0.0/24", ("10.0.0.0/24",), True),
        ("10.0.0.0/23", ("10.0.0.0/24",), False),
        ("10.0.0.0/23", ("10.0.0.0/24", "10.0.1.0/24"), True),
        ("10.0.0.0/23", ("10.0.0.0/24", "10.0.2.0/24"), False),
        ("192.0.0.0/22", ("192.0.0.0/24", "192.0.2.0/24"), False),
        ("::/127", ("::1/128",), False),
        ("2001:db8::/120", ("2001:db8::/32",), True),
        ("224.0.0.0/24", (), False),
    ],
)
def test_networks_by_size_and_by_what_they_overlap(target: str, allow: tuple[str, ...], *, admitted: bool) -> None:
    assert admits(scope_of(target, allow=allow), target) is admitted


def test_the_policy_may_allow_more_addresses_or_fewer() -> None:
    assert admits(scope_of("8.0.0.0/16", max_addresses=65536), "8.0.0.0/16")
    assert not admits(scope_of("8.8.8.0/30", max_addresses=3), "8.8.8.0/30")
    assert admits(scope_of("8.8.8.0/30", max_addresses=4), "8.8.8.0/30")


def test_the_exclusion_list_always_wins() -> None:
    exclude = ("8.8.8.0/25", "8.8.8.128/25", "9.9.9.9", "secret.example.com", "127.0.0.2", "mil")
    scope = scope_of(ROOT, allow=("127.0.0.0/8",), exclude=exclude)
    for text in ("8.8.8.8", "8.8.8.0/24", "8.8.8.64/26", "9.9.9.9", "127.0.0.2", "secret.example.com", "army.mil"):
        assert not admits(scope, text), text
    for text in ("8.8.0.0/20", "9.9.9.0/24", "127.0.0.1", "example.com", "notsecret.example.com", "mil.example.com"):
        assert admits(scope, text), text
    assert "exclusion" in scope.decide(DomainName("x.secret.example.com")).rule
    assert "exclusion" in scope.decide(Host("9.9.9.9", name="example.com")).rule
    assert "exclusion" in scope.decide(Service("9.9.9.9", 22)).rule


def test_an_excluded_name_keeps_its_address_from_being_touched() -> None:
    scope = scope_of("9.9.9.0/24", exclude=("secret.example.com",))
    assert scope.decide(Host("9.9.9.1", name="www.example.com")).touch
    assert not scope.decide(Host("9.9.9.1", name="Secret.Example.com.")).touch
    assert not scope.decide(Host("9.9.9.1", name="www.example.com", via="a.secret.example.com")).touch


def test_a_small_exclusion_inside_a_large_one_takes_nothing_from_it() -> None:
    scope = scope_of("8.8.8.0/24", exclude=("8.8.8.0/25", "8.8.8.0/28", "8.8.8.64/28"))
    assert not scope.decide(Host("8.8.8.127")).touch
    assert scope.decide(Host("8.8.8.128")).touch


def test_tools_get_the_excluded_networks_and_addresses() -> None:
    scope = scope_of(ROOT, exclude=("9.9.9.9", "secret.example.com", "8.8.8.0/24", "2600::1", "9.9.9.9/32"))
    assert scope.excluded_networks() == ("9.9.9.9/32", "8.8.8.0/24", "2600::1/128")


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "*.example.com", "-x", "http://a.example", "0177.0.0.1", ""])
def test_a_malformed_exclusion_stops_the_installation(entry: str) -> None:
    with pytest.raises(PlatformError):
        scope_of(ROOT, exclude=(entry,))


@pytest.mark.parametrize(
    ("name", "touch"),
    [
        ("example.com", True),
        ("www.example.com", True),
        ("_dmarc.example.com", True),
        ("a.b.c.example.com", True),
        ("evil-example.com", False),
        ("evilexample.com", False),
        ("example.com.evil.net", False),
        ("example.co", False),
        ("com", False),
        ("xample.com", False),
        ("WWW.example.com", False),
        ("www.example.com.", False),
        ("www..example.com", False),
        ("-x.example.com", False),
        (".example.com", False),
        ("a b.example.com", False),
        ("*.example.com", False),
        ("", False),
    ],
)
def test_names_by_labels(name: str, *, touch: bool) -> None:
    assert scope_of(ROOT).decide(DomainName(name)).touch is touch


def test_label_boundaries_whatever_the_labels() -> None:
    dice = random.Random(8)
    labels = ["a", "example", "com", "xn--bcher-kva", "e-xample", "_x", "0"]
    for _ in range(5000):
        root = ".".join([*dice.choices(labels, k=dice.randint(1, 2)), "com"])
        head = ".".join(dice.choices(labels, k=dice.randint(1, 3)))
        scope = Scope.for_target(DomainName(root))
        assert scope.decide(DomainName(f"{head}.{root}")).touch
        assert not scope.decide(DomainName(f"{head}{root}")).touch or root.startswith("_")
        assert not scope.decide(DomainName(f"{root}.{head}.net")).touch
        assert not Scope.for_target(ROOT, exclude=(root,)).decide(DomainName(f"{head}.{root}")).touch


@pytest.mark.parametrize(
    ("host", "touch"),
    [
        (Host("8.8.8.8", name="www.example.com"), True),
        (Host("8.8.8.8", name="www.example.com", via="lb.example.com"), True),
        (Host("8.8.8.8", name="www.example.com", via="edge.cdn.net"), False),
        (Host("8.8.8.8", name="www.example.com", via="lb.example.com.cdn.net"), False),
        (Host("8.8.8.8", name="www.example.com", via=""), False),
        (Host("8.8.8.8", name="www.evil-example.com"), False),
        (Host("8.8.8.8", name="edge.cdn.net", via="www.example.com"), False),
        (Host("8.8.8.8"), False),
        (Host("127.0.0.1", name="www.example.com"), False),
        (Host("0177.0.0.1", name="www.example.com"), False),
        (Host("8.8.8.8/32", name="www.example.com"), False),
        (Host("2600:0::1", name="www.example.com"), False),
        (Host("www.example.com", name="www.example.com"), False),
        (Host("", name="www.example.com"), False),
    ],
)
def test_hosts_of_a_domain(host: Host, *, touch: bool) -> None:
    decision = scope_of(ROOT).decide(host)
    assert decision.touch is touch
    assert bool(decision.rule) is not touch


@pytest.mark.parametrize(
    ("record", "touch"),
    [
        (Host("8.8.8.0"), True),
        (Host("8.8.8.255", name="other.example"), True),
        (Host("8.8.9.0"), False),
        (Host("8.8.7.255"), False),
        (Network("8.8.8.0/24"), True),
        (Network("8.8.8.128/25"), True),
        (Network("8.8.8.64/26"), False),
        (Network("8.8.0.0/16"), False),
        (Network("8.8.9.0/24"), False),
        (Network("8.8.8.1/25"), False),
        (Network("8.8.8.0/255.255.255.0"), False),
        (Network("8.8.8.8"), False),
        (Network("nonsense"), False),
        (DomainName("dns.google"), False),
        (Service("8.8.8.8", 53), True),
        (Service("8.8.8.70", 53), False),
        (Service("127.0.0.1", 53), False),
        (Finding("weak-cipher", "8.8.8.8:443/tcp"), False),
    ],
)
def test_records_of_a_network(record: Record, *, touch: bool) -> None:
    assert scope_of("8.8.8.0/24", exclude=("8.8.8.64/26",)).decide(record).touch is touch


def test_several_roots_and_both_families() -> None:
    scope = Scope(roots=(ROOT, Network("8.8.8.0/24"), Host("2600::1")))
    for record in (DomainName("a.example.com"), Host("8.8.8.1"), Host("2600::1")):
        assert scope.decide(record).touch
    assert not scope.decide(Host("2600::2")).touch


def test_what_is_allowed_is_not_thereby_in_scope() -> None:
    scope = scope_of(ROOT, allow=("127.0.0.0/8",))
    assert not scope.decide(Host("127.0.0.1")).touch
    assert scope.decide(Host("127.0.0.1", name="example.com")).touch


@pytest.mark.parametrize(
    ("address", "meaning"),
    [
        ("::1", "loopback"),
        ("::2", "IPv4-compatible IPv6"),
        ("64:ff9b:1::1", "IPv4 behind NAT64"),
        ("255.255.255.255", "limited broadcast"),
        ("2001:2::1", "benchmarking"),
        ("2001:100::1", "IETF protocol assignments"),
        ("4000::1", "not global unicast"),
        ("1.1.1.1", ""),
    ],
)
def test_the_narrowest_meaning_is_named(address: str, meaning: str) -> None:
    assert special_purpose(Span.of(address)) == meaning


def test_a_refusal_names_its_rule_and_the_remedy() -> None:
    for target, word, remedy in (
        ("127.0.0.1", "loopback", "PULSAR_SCOPE_ALLOW"),
        ("169.254.169.254", "link-local", "PULSAR_SCOPE_ALLOW"),
        ("8.0.0.0/8", "4096 addresses", "max_addresses"),
        ("::ffff:8.8.8.8", "IPv4", "give the IPv4 address"),
    ):
        with pytest.raises(TargetRefused) as caught:
            scope_of(target).admit(parse_target(target))
        assert word in caught.value.detail
        assert target not in str(caught.value)
        assert remedy in caught.value.hint


def test_scopes_with_the_same_rules_are_equal() -> None:
    allow: tuple[IPv4Network | IPv6Network, ...] = (IPv4Network("10.0.0.0/8"),)
    assert Scope.for_target(ROOT, allow=allow) == Scope(roots=(ROOT,), allow=allow)
    assert Scope.for_target(ROOT, allow=allow) != Scope(roots=(ROOT,))
