"""The kernel's rules around one tool, as a text for nft(8), and what the kernel counted; nothing is started here.

Two tables of one name, both of ours alone. `inet` sees what goes through the kernel's own IP: sockets, and raw IP ones.
`netdev` sees every frame that leaves a device, so also those that zmap, masscan and nmap write whole (AF_PACKET). A
packet is the tool's where it comes from a socket of the tool's user id.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

PREFIX = "pulsar_"
NAMED = 8
"""Addresses that a stray's report names; packets to all others are counted as well."""

LEAST_BURST, BURST_BYTES, PACKET_BYTES = 5, 65536, 1500
"""What may leave at once whatever the rate is: a handshake with a question, and one piece as the kernel makes them."""

Networks = Sequence[IPv4Network | IPv6Network]


@dataclass(frozen=True, slots=True)
class Plan:
    """What one fence lets through. `ways` are gateways: asked for their hardware address, and nothing else.

    `ports` are the only ones of TCP and UDP that are reached, where it is not None; `rate` is packets a second.
    """

    uid: int
    owner: str
    allowed: Networks
    excluded: Networks
    ways: tuple[str, ...]
    devices: tuple[str, ...]
    ports: tuple[int, ...] | None = None
    rate: int | None = None


@dataclass(frozen=True, slots=True)
class Strays:
    """What a fence has stopped: how many packets, and the first few addresses that they were for.

    `slowed` are packets that it has dropped on the way to where they may go, as they were more than its rate.
    """

    packets: int = 0
    addresses: tuple[str, ...] = ()
    slowed: int = 0


NONE = Strays()


def table_of(uid: int) -> str:
    """The name of the tables of that id's fence."""
    return f"{PREFIX}{uid}"


def chain_of(owner: str) -> str:
    """The name of the chain that tells whose fence it is."""
    return f"held_{owner}"


def raising(plan: Plan) -> str:
    """The text that makes both tables, or neither: it fails where somebody has a fence for that id."""
    name = table_of(plan.uid)
    devices = ", ".join(f'"{device}"' for device in plan.devices)
    return (
        f"create table inet {name}\ncreate table netdev {name}\n"
        + _table(f"inet {name}", plan, "hook output priority -400", (), "reject with icmpx admin-prohibited")
        + _table(f"netdev {name}", plan, f"hook egress devices = {{ {devices} }} priority 0", _LINK, "drop")
    )


_LINK = (
    "arp daddr ip @ways accept",
    "arp daddr ip @never4 goto strayed",
    "arp daddr ip @four accept",
    # A neighbour is asked for by a group that holds the end of its address only, and the question stays on the link.
    "icmpv6 type nd-neighbor-solicit ip6 daddr ff02::1:ff00:0/104 accept",
)


def _table(name: str, plan: Plan, hook: str, link: tuple[str, ...], verdict: str) -> str:
    four, six = _families(plan.allowed)
    never4, never6 = _families(plan.excluded)
    sets = (
        *(_set("four", "ipv4_addr", four), _set("six", "ipv6_addr", six), _set("ways", "ipv4_addr", plan.ways)),
        *(_set("never4", "ipv4_addr", never4), _set("never6", "ipv6_addr", never6)),
        *(f"set {to} {{ type {kind}; flags dynamic; size {NAMED}; }}" for to, kind in _SEEN.items()),
    )
    allowing = ("ip daddr @four goto given", "ip6 daddr @six goto given")
    refusing = ("ip daddr @never4 goto strayed", "ip6 daddr @never6 goto strayed")
    naming = ("update @to4 { ip daddr }", "update @to6 { ip6 daddr }")
    asked = ("update @to4 { arp daddr ip }",) if link else ()
    counting = _chain("strayed", "counter name strays", *naming, *asked, verdict)
    # What is too much is dropped at egress: there a sender is not told, as on any line that is full.
    given = _chain("given", *_of_ports(plan), *(_of_rate(plan) if link else ()), "accept")
    holding = _chain(chain_of(plan.owner), *refusing, *allowing, *link, "goto strayed")
    # A packet without a socket, such as the kernel's own answers, is nobody's: `skuid != …` would not match it either.
    judging = _chain("out", f"type filter {hook}; policy accept;", f"meta skuid {plan.uid} jump {chain_of(plan.owner)}")
    counters = "counter strays { }\ncounter slowed { }\n"
    return f"table {name} {{\n{counters}" + "\n".join((*sets, counting, given, holding, judging)) + "\n}\n"


def _of_ports(plan: Plan) -> tuple[str, ...]:
    if plan.ports is None:
        return ()
    if not plan.ports:
        return ("goto strayed",)
    # What has no port, such as a ping, is not among them either.
    listed = ", ".join(map(str, plan.ports))
    return ("meta l4proto != { tcp, udp } goto strayed", f"th dport != {{ {listed} }} goto strayed")


def _of_rate(plan: Plan) -> tuple[str, ...]:
    """Packets, and as many bytes as those may be: the kernel cuts long ones up only after this."""
    if plan.rate is None:
        return ()
    packets = f"limit rate over {plan.rate}/second burst {max(LEAST_BURST, plan.rate // 5)} packets"
    octets = f"limit rate over {plan.rate * PACKET_BYTES} bytes/second burst {BURST_BYTES} bytes"
    return tuple(f"{limit} counter name slowed drop" for limit in (packets, octets))


_SEEN = {"to4": "ipv4_addr", "to6": "ipv6_addr"}


def _set(name: str, kind: str, elements: Sequence[object]) -> str:
    listed = f"elements = {{ {', '.join(map(str, elements))} }};" if elements else ""
    return f"set {name} {{ type {kind}; flags interval; auto-merge; {listed} }}"


def _chain(name: str, *lines: str) -> str:
    return "\n".join((f"chain {name} {{", *lines, "}"))


def _families(networks: Networks) -> tuple[Networks, Networks]:
    return [one for one in networks if one.version == 4], [one for one in networks if one.version == 6]


def razing(uid: int, owner: str) -> str:
    """The text that removes both tables, and fails where they are not this owner's."""
    name = table_of(uid)
    return f"flush chain inet {name} {chain_of(owner)}\ndelete table inet {name}\ndelete table netdev {name}\n"


def strays_in(listings: str) -> Strays:
    """Read what `nft --json list table` says of the tables, one document a line; raises `ValueError` for others."""
    counted: dict[str, list[int]] = {"strays": [], "slowed": []}
    addresses = []
    for entry in _entries(listings):
        if counter := entry.get("counter"):
            counted[counter["name"]].append(int(counter["packets"]))
        elif (seen := entry.get("set")) and seen["name"] in _SEEN:
            addresses += [_canonical(element) for element in seen.get("elem", ())]
    if len(counted["strays"]) != 2:
        raise ValueError("a table of the fence is not there")
    return Strays(sum(counted["strays"]), tuple(dict.fromkeys(addresses)), sum(counted["slowed"]))


def _canonical(element: Any) -> str:
    return str(ip_network(str(element["elem"]["val"] if isinstance(element, dict) else element)).network_address)


def owners_in(listing: str) -> Iterable[tuple[int, str]]:
    """The fences that `nft --json list chains` tells of: the user id and the owner of each."""
    for entry in _entries(listing):
        chain = entry.get("chain", {})
        table, name = str(chain.get("table")), str(chain.get("name"))
        number = table.removeprefix(PREFIX)
        if chain.get("family") == "inet" and table != number and number.isdigit() and name.startswith(chain_of("")):
            yield int(number), name.removeprefix(chain_of(""))


def _entries(listings: str) -> Iterable[dict[str, Any]]:
    for line in filter(None, listings.splitlines()):
        yield from json.loads(line)["nftables"]
