"""Two network namespaces, a scanner's and an estate's, joined by one cable and to nothing else.

    with Namespaces() as made:
        made.add("10.87.0.10", "10.88.0.1")              # the estate's own addresses
        web = made.estate.popen(["nginx", ...])
        made.scanner.run(["nmap", "-n", "-Pn", "10.87.0.10"])
        assert made.packets()["10.88.0.1"] == 0

Whatever the scanner's side sends to any address at all arrives at the estate's side, where it is counted by
destination and goes no further: there is no route out. What the estate does not own answers nothing, as on the
internet. The scanner's system resolver is an address of the cable where nobody listens, so a tool that asks it shows
in `packets()` too. Code that has to run inside is started there: `made.scanner.run([sys.executable, "-m", ...])`.

Needs root, iproute2 and nftables (`trouble` says what lacks). Names carry the maker's process id and start time; what
a killed maker left behind is removed by the next one.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

PREFIX = "pulsar-estate"
ETC, RUN = Path("/etc/netns"), Path("/run/netns")
"""Where ip-netns(8) looks for a namespace's own /etc/resolv.conf, and where it keeps the namespaces."""
LINK = "10.255.87"
LINK6 = "fd87:ffff"
SCANNER, GATEWAY = f"{LINK}.2", f"{LINK}.1"
"""The ends of the cable: where the scanner sends from, and its gateway, which is the estate's."""
CABLE = ("scan0", "estate0")
SECONDS = 20.0
STOP_SECONDS = 5.0
CLONE_NEWNET = 0x40000000

COUNTERS = """
table inet estate {
    set seen { type ipv4_addr; flags dynamic; counter; size 65535; }
    set seen6 { type ipv6_addr; flags dynamic; counter; size 65535; }
    set silent { type ipv4_addr; }
    set silent6 { type ipv6_addr; }
    chain arriving {
        type filter hook prerouting priority -300;
        iifname != "estate0" accept
        update @seen { ip daddr }
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report } accept
        update @seen6 { ip6 daddr }
        ip daddr @silent drop
        ip6 daddr @silent6 drop
    }
}
"""
"""Counted before anything else looks at a packet. Neighbour discovery is the cable's own talk, as ARP is."""

LINKING = f"""
link add name {CABLE[0]} netns {{scanner}} type veth peer name {CABLE[1]} netns {{estate}}
"""
SCANNER_SIDE = f"""
address add {SCANNER}/30 dev {CABLE[0]}
address add {LINK6}::2/64 dev {CABLE[0]} nodad
link set lo up
link set {CABLE[0]} up
route add default via {GATEWAY}
route add ::/0 via {LINK6}::1
"""
ESTATE_SIDE = f"""
address add {GATEWAY}/30 dev {CABLE[1]}
address add {LINK6}::1/64 dev {CABLE[1]} nodad
link set lo up
link set {CABLE[1]} up
"""

_numbers = itertools.count()


class Side:
    """One of the two namespaces: `prefix` is what an argument list begins with to run inside."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.prefix = ("ip", "netns", "exec", name)

    def argv(self, argv: Iterable[str | Path]) -> list[str]:
        """The argument list that runs this one inside."""
        return [*self.prefix, *map(str, argv)]

    def run(self, argv: Iterable[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program inside to its end, as `subprocess.run` does: text captured, bounded in time unless told."""
        return subprocess.run(
            self.argv(argv), **({"capture_output": True, "text": True, "timeout": SECONDS, "check": False} | options)
        )

    def popen(self, argv: Iterable[str | Path], **options: Any) -> subprocess.Popen[Any]:
        """Start a program inside; its pid is the program's own. It is ended with the namespace at the latest."""
        return subprocess.Popen(self.argv(argv), **({"stdin": subprocess.DEVNULL} | options))

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Have this thread inside for as long as the context is open: what it opens and starts meanwhile stays there.

        Only its network is another: its `/etc/resolv.conf` is the machine's own, so that names are not to be resolved.
        """
        with Path("/proc/thread-self/ns/net").open("rb") as before, (RUN / self.name).open("rb") as inside:
            _enter(inside.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    def pids(self) -> list[int]:
        """The processes that are inside."""
        return [int(word) for word in _ip("netns", "pids", self.name).split()]


class Namespaces:
    """The two sides; both are there, and joined, while the context is open.

    Entering raises `RuntimeError` where `trouble` has something to say, and `subprocess.CalledProcessError` where
    the kernel refuses.
    """

    def __init__(self) -> None:
        stem = f"{PREFIX}-{os.getpid()}-{_start_of(os.getpid())}-{next(_numbers)}"
        self.scanner = Side(f"{stem}-scanner")
        self.estate = Side(f"{stem}-estate")
        self._maker = os.getpid()

    def __enter__(self) -> Self:
        if lacking := trouble():
            raise RuntimeError(lacking)
        remove_stale()
        try:
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End what runs inside, and remove both sides. Safe to repeat; a forked child leaves them alone."""
        if os.getpid() == self._maker:
            for side in (self.scanner, self.estate):
                _remove(side.name)

    def add(self, *addresses: str) -> None:
        """Give the estate's side these addresses, IPv4 or IPv6."""
        # Each by itself: the whole of a network that is on `lo` would answer (ip-route(8), local routes).
        self._batch(self.estate, "".join(f"address add {ip_address(one)} dev lo\n" for one in addresses))

    def silence(self, *addresses: str) -> None:
        """Drop what the scanner sends to these addresses from now on; it is counted all the same."""
        for address in addresses:
            self._nft("add", "element", "inet", "estate", _for("silent", address), f"{{ {address} }}")

    def packets(self) -> Counter[str]:
        """How many packets the scanner's side has sent to each address, wherever that address is."""
        counted: Counter[str] = Counter()
        for name in ("seen", "seen6"):
            listed = json.loads(self._nft("--json", "list", "set", "inet", "estate", name))
            for element in _elements(listed):
                counted[element["val"]] = element["counter"]["packets"]
        return counted

    def _make(self) -> None:
        for side in (self.scanner, self.estate):
            _ip("netns", "add", side.name)
        own = ETC / self.scanner.name
        own.mkdir(parents=True)
        (own / "resolv.conf").write_text(f"nameserver {GATEWAY}\noptions timeout:1 attempts:1\n")
        self._nft("--file", "-", text=COUNTERS)
        _ip("-batch", "-", text=LINKING.format(scanner=self.scanner.name, estate=self.estate.name))
        self._batch(self.scanner, SCANNER_SIDE)
        self._batch(self.estate, ESTATE_SIDE)

    def _batch(self, side: Side, commands: str) -> None:
        _ip("-netns", side.name, "-batch", "-", text=commands)

    def _nft(self, *words: str, text: str = "") -> str:
        return self.estate.run(["nft", *words], input=text, check=True).stdout


def trouble() -> str | None:
    """Why namespaces cannot be made here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    lacking = [program for program in ("ip", "nft") if shutil.which(program) is None]
    if lacking:
        return f"network namespaces need {' and '.join(lacking)}: apt-get install iproute2 nftables"
    return None


def remove_stale() -> None:
    """Remove the namespaces whose maker is gone, and what runs in them."""
    for directory in (RUN, ETC):
        for entry in directory.glob(f"{PREFIX}-*-*-*"):
            pid, started = entry.name.removeprefix(f"{PREFIX}-").split("-")[:2]
            if _start_of(int(pid)) != started:
                _remove(entry.name)


def _enter(descriptor: int) -> None:
    """setns(2) for the calling thread."""
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _remove(name: str) -> None:
    if (RUN / name).exists():
        _end_all(Side(name))
        _ip("netns", "delete", name)
    shutil.rmtree(ETC / name, ignore_errors=True)
    with contextlib.suppress(OSError):
        ETC.rmdir()  # only where nobody else has anything in it


def _end_all(side: Side) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        handles = list(_handles(side.pids()))
        for handle in handles:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
        _await_ends(handles)


def _handles(pids: Iterable[int]) -> Iterable[int]:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            yield os.pidfd_open(pid)


def _await_ends(handles: Sequence[int]) -> None:
    until = time.monotonic() + STOP_SECONDS
    for handle in handles:
        select.select([handle], [], [], max(0.0, until - time.monotonic()))
        os.close(handle)


def _start_of(pid: int) -> str | None:
    """When a process began, in ticks since boot (proc(5)); None where there is none of that number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def _elements(listed: Any) -> Iterable[Any]:
    found = next(entry["set"] for entry in listed["nftables"] if "set" in entry)
    return [entry["elem"] for entry in found.get("elem", ())]


def _for(name: str, address: str) -> str:
    return f"{name}6" if ":" in address else name


def _ip(*words: str, text: str = "") -> str:
    return subprocess.run(
        ["ip", *words], input=text, check=True, capture_output=True, text=True, timeout=SECONDS
    ).stdout
