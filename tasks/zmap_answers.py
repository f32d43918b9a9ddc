"""What ZMap and masscan left of a sweep: the open ports, and what is said of each network that was asked about.

Both write a record a line as answers come, so whatever is there when they are cut off counts. Neither says by its exit
code whether anything was sent: what counts as swept is what the script noted after a call that ended well.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_network
from typing import Any

from footprint.errors import OutputNotUnderstood, ToolCrashed
from footprint.records import SAMPLE, Coverage, Host, Network, Outcome, Service
from footprint.text import clean
from tasks.tool import Batch, Found, Output

PLAN, FOUND = "plan", "found"
UNROUTED, MUTE, SWEPT = "unrouted", "mute", "swept"
KEPT = (PLAN, UNROUTED, MUTE, SWEPT)
EVERY_PORT = 65535

TARPIT_PORTS = 200
"""An address with more open ports than this answers on any: what it says is noise."""
TARPIT_KEPT = 20
ECHO_PORTS = 4
"""Of a network an address is an echo if it answers on each of at least so many ports that were swept."""
ECHO_ADDRESSES = 16
"""With at least so many echoes, and half of its addresses, something in front of a network answers for it."""
ECHO_KEPT = 4

Openings = dict[IPv4Address, set[int]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What was to be swept: ports and ranges as both programs take them, and how many ports the engine cannot take."""

    engine: str
    ports: str
    left_out: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """All that a unit left behind. `swept` says through which ports a network is, `sent` what zmap counted."""

    plan: Plan
    openings: Openings
    swept: dict[str, set[int]]
    unrouted: frozenset[str]
    mute: frozenset[str]
    counted: str
    is_whole: bool


def ports_in(text: str) -> tuple[int, ...]:
    """The ports that a list of ports and ranges names, in its order, each once; none where it contradicts itself."""
    spans = [(int(low), int(high or low)) for low, _, high in (part.partition("-") for part in text.split(","))]
    if not all(1 <= low <= high <= EVERY_PORT for low, high in spans):
        return ()
    return tuple(dict.fromkeys(port for low, high in spans for port in range(low, high + 1)))


def parse(output: Output, batch: Batch) -> Iterator[Found]:
    """What was found in the networks of a batch, and exactly one coverage for each of them.

    Raises `OutputNotUnderstood`, or `ToolCrashed` where the program gave up before it was through with any port.
    """
    sweep = _read(output)
    networks = [record for record in batch if isinstance(record, Network)]
    gave_up = output.is_complete and not sweep.swept and not sweep.openings
    if gave_up and any(network.cidr not in sweep.unrouted | sweep.mute for network in networks):
        said = _last_words(output)
        raise ToolCrashed(f"{sweep.plan.engine}: it gave up: {said or 'it does not say why'}", hint=_remedy(said))
    for network in networks:
        yield from _swept(network, sweep)


def _read(output: Output) -> Sweep:
    kept = output.files
    try:
        plan = Plan(**json.loads(kept[PLAN]))
        wanted = frozenset(ports_in(plan.ports))
        swept = _through(kept.get(SWEPT, ""), wanted)
    except (KeyError, TypeError, ValueError) as error:
        raise OutputNotUnderstood("zmap: the notes of its sweep cannot be read") from error
    openings: Openings = defaultdict(set)
    is_whole = True
    for text in (text for name, text in kept.items() if name.startswith(FOUND)):
        records, is_cut = _lines(text)
        is_whole &= not is_cut
        for address, port in map(_opening, records):
            if port in wanted:
                openings[address].add(port)
    return Sweep(
        plan=plan,
        openings=openings,
        swept=swept,
        unrouted=frozenset(kept.get(UNROUTED, "").split()),
        mute=frozenset(kept.get(MUTE, "").split()),
        counted=_counted(kept),
        is_whole=is_whole,
    )


def _through(text: str, wanted: frozenset[int]) -> dict[str, set[int]]:
    """Through which ports each network is; a line that breaks off counts for nothing."""
    swept: defaultdict[str, set[int]] = defaultdict(set)
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            port, cidr = line.split()
            swept[cidr] |= wanted if port == "0" else {int(port)}
    return dict(swept)


def _lines(text: str) -> tuple[list[dict[str, Any]], bool]:
    """The records of a text, and whether it breaks off in the last of them."""
    lines = [line.strip().rstrip(",") for line in text.splitlines()]
    lines = [line for line in lines if line.startswith("{")]
    records = []
    for place, line in enumerate(lines, start=1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            if place == len(lines) and not text.endswith("\n"):
                return records, True
            raise OutputNotUnderstood("zmap: a line of its output is no record") from error
    return records, False


def _opening(record: dict[str, Any]) -> tuple[IPv4Address, int]:
    """The address and port of a record of zmap (`saddr`, `sport`) or masscan (`ip`, `ports`)."""
    try:
        text, port = (
            (record["saddr"], record["sport"]) if "saddr" in record else (record["ip"], record["ports"][0]["port"])
        )
        if type(port) is not int:
            raise TypeError("a port is a number")
        return IPv4Address(text), port
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise OutputNotUnderstood("zmap: a record of its output lacks address or port") from error


def _counted(kept: dict[str, str]) -> str:
    """What zmap counted of the whole unit, summed up over its ports; masscan keeps no such counts."""
    metas = [meta for name, text in kept.items() if name.startswith("sent-") for meta in _lines(text)[0]]
    if not metas:
        return ""
    # zmap 2.1.1 counts an address once, however often it is asked; `packet_streams` is how often that was.
    sent = sum(_number(meta, "total_sent") * max(1, _number(meta, "packet_streams")) for meta in metas)
    answers = sum(_number(meta, "success_total") + _number(meta, "failure_total") for meta in metas)
    dropped = sum(_number(meta, "pcap_drop") for meta in metas)
    lost = f", {dropped} of them lost before they were read" if dropped else ""
    return f"{sent:,} packets sent and {answers:,} received by the unit{lost}"


def _number(meta: dict[str, Any], key: str) -> int:
    number = meta.get(key)
    return number if isinstance(number, int) else 0


def _swept(target: Network, sweep: Sweep) -> Iterator[Found]:
    network = ip_network(target.cidr)
    assert isinstance(network, IPv4Network)
    here = {address: sweep.openings[address] for address in sorted(sweep.openings) if address in network}
    kept, reduced = _reduced(here, network, sweep.swept.get(target.cidr, set()))
    for address, ports in kept.items():
        yield Host(str(address))
        detail = SAMPLE if len(ports) < len(here[address]) else None
        yield from (Service(str(address), port, detail=detail) for port in sorted(ports))
    yield _coverage(target, len(here), network.num_addresses, reduced, sweep)


def _reduced(here: Openings, network: IPv4Network, through: set[int]) -> tuple[Openings, str]:
    """What is kept of the openings of a network, and what is said where that is not all."""
    echoes = [address for address, ports in here.items() if len(through) >= ECHO_PORTS and ports >= through]
    notes = []
    if len(echoes) >= max(ECHO_ADDRESSES, network.num_addresses / 2):
        dropped = set(echoes[ECHO_KEPT:])
        here = {address: ports for address, ports in here.items() if address not in dropped}
        notes.append(f"{len(echoes)} addresses answer on every port that was swept, {ECHO_KEPT} of them were kept")
    tarpits = {address for address, ports in here.items() if len(ports) > TARPIT_PORTS}
    if tarpits:
        here = {at: set(sorted(ports)[:TARPIT_KEPT]) if at in tarpits else ports for at, ports in here.items()}
        notes.append(f"{len(tarpits)} addresses with over {TARPIT_PORTS} open ports, {TARPIT_KEPT} of each were kept")
    return here, "; ".join(notes)


def _coverage(target: Network, alive: int, addresses: int, reduced: str, sweep: Sweep) -> Coverage:
    if target.cidr in sweep.unrouted:
        why = "no gateway leads to all of it: on this worker's own link nmap_discovery asks instead"
        return Coverage(target.cidr, Outcome.NOT_LOOKED_AT, why)
    if target.cidr in sweep.mute:
        return Coverage(target.cidr, Outcome.NOT_LOOKED_AT, "the gateway that leads there does not answer")
    wanted = len(ports_in(sweep.plan.ports))
    through = len(sweep.swept.get(target.cidr, ()))
    found = f"{alive} of {addresses} addresses answered on {through} of {wanted + sweep.plan.left_out} ports"
    notes = "; ".join(note for note in (found, reduced, sweep.counted) if note)
    if through < wanted or not sweep.is_whole:
        return Coverage(target.cidr, Outcome.NOT_LOOKED_AT, f"{sweep.plan.engine} ended before it was through: {notes}")
    outcome = Outcome.SAMPLED if reduced else Outcome.ANSWERED if alive else Outcome.SILENT
    return Coverage(target.cidr, outcome, notes)


_TROUBLE = re.compile(r"(?:\[FATAL\]|FAIL:|^sweep:) (.*)$", re.MULTILINE)


def _last_words(output: Output) -> str:
    """The first line in which a program says what is wrong; masscan's are in the script's own output."""
    match = _TROUBLE.search(f"{output.stderr}\n{output.stdout}")
    return clean(match[1], 200).strip() if match else ""


def _remedy(said: str) -> str:
    is_refused = any(word in said.lower() for word in ("permission", "permitted", "denied", "root", "socket"))
    return "raw sockets need root or CAP_NET_RAW on this worker" if is_refused else ""
