"""A fence around a tool: the kernel lets it reach the addresses that its unit is about, and nothing else.

Asked for with `PULSAR_FENCE=on`. The tool gets a user id of its own, with raw sockets and no other power, and two
tables in nftables that judge what this id sends (fence_rules.py). What strays is stopped, counted and told. Making the
tables is what takes the id: the kernel refuses a second one of the name, so two units of this machine never share it.
A fence tells whose it is; where that process is gone, the next to raise one, or to start a worker, removes it.

Needs root, bubblewrap, util-linux, nftables 1.0.1 and Linux 5.16 (the egress hook). Nothing of the machine's own rules
is touched. Held are foreign programs that are given addresses, and, whatever the setting, extensions that have a
network. Pulsar's own modules ask in its own process, under its own eyes; programs that are given names to look up
(Amass) cannot be held by addresses, and their unit says so.
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from pathlib import Path

from footprint.errors import FenceMissing, StrayedOutOfScope, UnitError
from footprint.records import Endpoint, Host, Network, Record, Service
from tasks import fence_rules
from tasks.fence_rules import Plan, Strays
from tasks.runner import Containment, Limits, containment, run, search_path
from tasks.tool import Command, Output
from tasks.tree import has_processes, start_of

IDS = range(61001, 61184)
"""Without an account, in a range that Debian and systemd leave free (60706-61183); 61000 is the sandbox's."""
SECONDS = 20
GONE_SECONDS = 5.0
"""How long the kernel may take to end the last of a tool's processes."""
REMEDY = "run the worker as root, with bubblewrap and nftables (Linux 5.16), or PULSAR_FENCE=off"
READABLE = "install it where everybody may read it (chmod -R o+rX its directory), or PULSAR_FENCE=off"
RULES, WAYS, SCRIPT = "rules", "ways", "script"
ROUTES = Path("/proc/net/route")
_GATEWAY_FLAG = 0x2

_turn = itertools.count()


@dataclass(slots=True)
class Fence:
    """One fence: the id inside it, and once it is down, what it has stopped. Without an id there is none."""

    uid: int | None = None
    strays: Strays = fence_rules.NONE

    def check_start(self, module: str, output: Output) -> None:
        """Raise `FenceMissing` where the program could not be started under the id."""
        if self.uid and (output.returncode == 126 or output.stderr.startswith(("setpriv: ", "bwrap: "))):
            raise unable(module, output)

    def complaint(self, module: str, aside: Exception | None = None) -> StrayedOutOfScope | None:
        """What is to be said of packets that strayed, or None; `aside` is what else went wrong."""
        if not self.strays.packets:
            return None
        named = ", ".join(self.strays.addresses)
        others = f"; {aside}" if aside else ""
        return StrayedOutOfScope(
            f"{module}: sent {self.strays.packets} packets to addresses that it was not given"
            f"{f' ({named})' if named else ''}; the fence stopped them{others}",
            hint="do not trust this tool here: see its log for what it was asked",
        )


def unable(module: str, output: Output) -> FenceMissing:
    """What is to be said of a program that does not run under the id of a fence, and what to do about it."""
    return FenceMissing(f"{module}: it cannot be run behind the fence: {_last(output)}", hint=READABLE)


def network_of(record: Record) -> IPv4Network | IPv6Network | None:
    """The address or network that a record names, or None where it names none."""
    match record:
        case Host(address=text) | Service(address=text) | Endpoint(address=text) | Network(cidr=text):
            return ip_network(text)
        case _:
            return None


@contextmanager
def fence_around(
    batch: Sequence[Record],
    excluded: Sequence[str],
    work_dir: Path,
    *,
    ports: tuple[int, ...] | None = None,
    rate: int | None = None,
) -> Iterator[Fence]:
    """Keep what runs under the fence's id to the addresses of a batch, less the excluded networks.

    Where they are given, `ports` are the only ones that it reaches there, and `rate` is packets a second at most.

    Raises `FenceMissing` where that cannot be had, and `UnitError` where the fence cannot be taken down.
    """
    _check_powers()
    _remove_stale_once(work_dir)
    aims = [network for record in batch if (network := network_of(record))]
    uid = _raise(aims, [ip_network(network) for network in excluded], work_dir, ports, rate)
    fence = Fence(uid)
    try:
        yield fence
    finally:
        fence.strays = _lower(uid, work_dir)


@cache
def check_fence(work_dir: Path) -> None:
    """Raise a fence around a harmless program, once a process. Raises `FenceMissing`, with the remedy."""
    with fence_around((), (), work_dir) as fence:
        output = run(Command(("true",)), Limits(SECONDS, work_dir, uid=fence.uid))
    if output.returncode != 0:
        raise FenceMissing(f"the fence does not work here: {_last(output)}", hint=REMEDY)


def remove_stale(work_dir: Path) -> None:
    """Take down the fences of this machine whose process is gone. Where there can be none, nothing is done."""
    if os.geteuid() != 0 or not _has("nft"):
        return
    listed = run(Command(("nft", "--json", "list", "chains")), Limits(SECONDS, work_dir))
    if listed.returncode != 0:
        return  # who has no power over rules has left none
    stale = [(uid, owner) for uid, owner in fence_rules.owners_in(listed.stdout) if _is_gone(uid, owner)]
    if stale:
        texts = {f"{RULES}{number}": fence_rules.razing(*one) for number, one in enumerate(stale)}
        # Each by itself: another process may be at the same work, and its own new fence is not ours to take.
        script = "".join(f"nft --file {name}\n" for name in texts)
        run(Command(("sh", SCRIPT), {**texts, SCRIPT: script}), Limits(SECONDS, work_dir))


_remove_stale_once = cache(remove_stale)


def _check_powers() -> None:
    if os.geteuid() != 0:
        raise FenceMissing("the fence needs root", hint=REMEDY)
    lacking = [program for program in ("nft", "setpriv") if not _has(program)]
    if lacking:
        raise FenceMissing(f"the fence needs {' and '.join(lacking)}", hint="apt-get install nftables util-linux")
    if containment() is not Containment.BUBBLEWRAP:
        raise FenceMissing("the fence needs bubblewrap", hint="apt-get install bubblewrap")


def _has(program: str) -> bool:
    return shutil.which(program, path=search_path()) is not None


def _raise(
    allowed: fence_rules.Networks,
    excluded: fence_rules.Networks,
    work_dir: Path,
    ports: tuple[int, ...] | None,
    rate: int | None,
) -> int:
    """Make the tables of an id that nobody has, and return the id."""
    devices, ways = tuple(name for _, name in socket.if_nameindex()), dict(_gateways())
    asking = "".join(f"neigh replace {gateway} dev {device} use\n" for gateway, device in ways.items())
    # A sweeper needs its gateway's hardware address, and may not have it asked for itself (CAP_NET_ADMIN).
    script = f"nft --file {RULES} && {{ ip -force -batch {WAYS} >/dev/null 2>&1; true; }}"
    for uid in _free_ids():
        plan = Plan(uid, _owner(), allowed, excluded, tuple(ways), devices, ports, rate)
        files = {RULES: fence_rules.raising(plan), WAYS: asking, SCRIPT: script}
        output = run(Command(("sh", SCRIPT), files), Limits(SECONDS, work_dir))
        if output.returncode == 0:
            return uid
        if "File exists" not in output.stderr:
            raise FenceMissing(f"the kernel takes no fence here: {_last(output)}", hint=REMEDY)
    raise FenceMissing(f"all {len(IDS)} ids for fenced tools are taken", hint="scan less at once")


def _free_ids() -> Iterator[int]:
    """Every id once that is no account's, beginning where neither this process nor most others have one."""
    first = os.getpid() * 7 + next(_turn)
    for step in range(len(IDS)):
        uid = IDS[(first + step) % len(IDS)]
        try:
            pwd.getpwuid(uid)
        except KeyError:
            yield uid


def _lower(uid: int, work_dir: Path) -> Strays:
    """Take a fence down once nobody is left inside, and return what it has stopped."""
    until = time.monotonic() + GONE_SECONDS
    while has_processes(uid):
        if time.monotonic() > until:
            raise UnitError(f"a process of id {uid} does not end; its fence is left standing")
        time.sleep(0.02)
    name = fence_rules.table_of(uid)
    script = f"nft --json list table inet {name} && nft --json list table netdev {name} && nft --file {RULES}"
    files = {RULES: fence_rules.razing(uid, _owner()), SCRIPT: script}
    output = run(Command(("sh", SCRIPT), files), Limits(SECONDS, work_dir))
    try:
        strays = fence_rules.strays_in(output.stdout)
    except ValueError:
        strays = None
    if output.returncode != 0 or strays is None:
        raise UnitError(f"the fence of id {uid} was not there at the end, or cannot be read: {_last(output)}")
    return strays


def _owner() -> str:
    """This process: by its namespace, its number and when it began, so that a number used again is another."""
    return f"{_namespace()}_{os.getpid()}_{start_of(os.getpid())}"


def _namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino


def _is_gone(uid: int, owner: str) -> bool:
    """True where a fence's process is known to be gone: of another process namespace's nothing is known here."""
    namespace, pid, started = map(int, owner.split("_"))
    return namespace == _namespace() and start_of(pid) != started and not has_processes(uid)


def _gateways() -> Iterator[tuple[str, str]]:
    """Each IPv4 gateway of the main routing table, and the device that leads to it (proc_net_route)."""
    for line in ROUTES.read_text().splitlines()[1:]:
        device, _, gateway, flags = line.split()[:4]
        if int(flags, 16) & _GATEWAY_FLAG:
            yield str(IPv4Address(struct.pack("=I", int(gateway, 16)))), device


def _last(output: Output) -> str:
    """The line that says most of what went wrong: nft's first, the last of others."""
    lines = output.stderr.strip().splitlines() or [f"code {output.returncode}"]
    return next((line for line in lines if "Error" in line), lines[-1])
