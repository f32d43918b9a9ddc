"""Packets a second at one destination beside what the policy allows it: each intensity, alone and three at once."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from uuid import UUID

from sqlalchemy import select

from footprint.budget import INTENSITIES
from footprint.policy import PRESETS, ScanPolicy
from footprint.store import Store
from footprint.store.tables import ModuleRun
from tests.bench.two_workers import TwoWorkers
from tests.estate import addresses as at
from tests.estate.estate import Estate, lacking
from tests.estate.meter import Reading
from tests.estate.playing import Playing
from tests.estate.zone import ROOT

TARGET = "10.87.0.0/27"
EXCLUDED = at.DEV
HOSTS = 14
"""Those of the target that are there, the excluded one left out: each answers a closed port with a reset."""
SWEEP_SECONDS = 10
MOST_SECONDS = 900.0
MOST_TRIES = 4
MIXED = ("nmap_discovery", "nmap", "http_probe", "tls", "ssh_audit", "service_checks")
SERVICES = "21,22,25,80,443,6379,8080,8443,11211"


@dataclass(frozen=True, slots=True)
class Line:
    """One measurement: what came, and when units ran that send as much as they may: those that look for ports."""

    what: str
    budget: float
    reading: Reading
    work: Sequence[tuple[float, float]]

    @property
    def peak(self) -> float:
        """The fullest second after the first, as a part of the budget."""
        return self.reading.peak(after=1.0) / self.budget

    @property
    def used(self) -> float:
        """The mean of that time, the first second and the last of each span left out, as a part of the budget."""
        spans = [self.reading.between(begin + 1, end - 1) for begin, end in self.work]
        seconds = sum(span.seconds for span in spans)
        return sum(span.packets for span in spans) / seconds / self.budget if seconds else 0.0

    def __str__(self) -> str:
        seconds, packets = self.reading.seconds, self.reading.packets
        told = f"{self.what:34} {self.budget:7,.0f} {packets:9,} {seconds:7.1f} s"
        return f"{told} {self.reading.peak(after=1.0):8,} ({self.peak:4.0%}) {self.used:5.0%}"


def budget() -> None:
    """Measure all; prints a table."""
    if reason := lacking():
        print(f"\nbudget: not measured, {reason}")
        return
    with Estate() as estate, tempfile.TemporaryDirectory(prefix="pulsar-bench-") as home:
        bench = Bench(estate, Path(home))
        print("\npackets a second at one /24, in any one-second window after the first (aim: at most 110 %)")
        print(f"{'what':34} {'budget':>7} {'packets':>9} {'time':>9} {'peak':>8} {'':6} {'used':>5}")
        for intensity in range(len(INTENSITIES)):
            for scans in (1, 3):
                print(bench.sweep(intensity, scans), flush=True)
        for intensity in range(1, len(INTENSITIES)):
            for scans in (1, 3):
                print(bench.mixed(intensity, scans), flush=True)
        with TwoWorkers(estate, Path(home) / "two", **bench.settings) as workers:
            for intensity in range(len(INTENSITIES)):
                print(bench.on_two_workers(workers, intensity, 3), flush=True)
        print(f"packets to the excluded address: {estate.packets().get(EXCLUDED, 0)}")
        print(f"packets of policy passive to the target's hosts: {bench.passive()}")


class Bench:
    """Scans of an estate, and what came of them at its side of the cable."""

    def __init__(self, estate: Estate, home: Path) -> None:
        self._estate = estate
        self.settings = {"scope_allow": at.NET, "scope_exclude": EXCLUDED, "resolvers": at.NS1}
        self.playing = Playing(estate.scanner, home, **self.settings)

    def sweep(self, intensity: int, scans: int, seconds: float = SWEEP_SECONDS) -> Line:
        """So many scans at once that look for open ports, each for about so many seconds."""
        return self._measure(f"ports, intensity {intensity}, {_scans(scans)}", _sweep(intensity, seconds), scans)

    def mixed(self, intensity: int, scans: int, seconds: float = SWEEP_SECONDS) -> Line:
        """So many scans at once of several modules, with as many ports to look at as a sweep of its own has."""
        policy = _policy(intensity, MIXED, f"{SERVICES},{_ports(intensity, seconds)}")
        return self._measure(f"modules, intensity {intensity}, {_scans(scans)}", policy, scans)

    def on_two_workers(self, workers: TwoWorkers, intensity: int, scans: int, seconds: float = SWEEP_SECONDS) -> Line:
        """The same sweeps by a whole platform: scans asked for by the command, and two workers that take them."""
        policy, ran_on = _sweep(intensity, seconds), 1
        for _ in range(MOST_TRIES):
            # Whichever worker looks first takes what is there.
            if ran_on == 1:
                with self._estate.meter() as meter:
                    asked, ran_on = workers.carry_out(TARGET, policy, scans, MOST_SECONDS)
        what = f"ports, intensity {intensity}, {scans} scans, {ran_on} workers"
        return Line(what, INTENSITIES[intensity].packets, meter.reading(), _work(workers.store, asked))

    def passive(self) -> int:
        """How many packets a scan that is passive sends to the target's hosts, its name servers left out."""
        before = self._estate.packets()
        self.playing.carry_out(self.playing.ask(ROOT, PRESETS["passive"]), seconds=MOST_SECONDS)
        after = self._estate.packets()
        target, servers = (ip_network(at.NET), ip_network(at.NET6)), {at.NS1, at.NS2}
        return sum(
            count - before.get(address, 0)
            for address, count in after.items()
            if address not in servers and any(ip_address(address) in network for network in target)
        )

    def _measure(self, what: str, policy: ScanPolicy, scans: int) -> Line:
        asked: Sequence[UUID] = [self.playing.ask(TARGET, policy) for _ in range(scans)]
        with self._estate.meter() as meter:
            self.playing.carry_out(*asked, seconds=MOST_SECONDS)
        return Line(what, INTENSITIES[policy.intensity].packets, meter.reading(), _work(self.playing.store, asked))


def _work(store: Store, scans: Sequence[UUID]) -> Sequence[tuple[float, float]]:
    """When units of these scans looked for ports: spans that do not overlap, in order."""
    ran = select(ModuleRun.started_at, ModuleRun.finished_at).order_by(ModuleRun.started_at)
    spans: list[tuple[float, float]] = []
    with store.read() as session:
        units = ran.where(ModuleRun.scan_id.in_(scans), ModuleRun.module == "nmap", ModuleRun.depth == 1)
        for began, ended in session.execute(units):
            begin, end = began.timestamp(), ended.timestamp()
            if spans and begin <= spans[-1][1]:
                begin, end = spans[-1][0], max(end, spans.pop()[1])
            spans.append((begin, end))
    return spans


def _sweep(intensity: int, seconds: float) -> ScanPolicy:
    return _policy(intensity, ("nmap_discovery", "nmap"), _ports(intensity, seconds))


def _ports(intensity: int, seconds: float) -> str:
    """So many ports that a sweep of all hosts takes about so many seconds."""
    ports = max(2, min(40_000, int(INTENSITIES[intensity].packets * seconds / HOSTS)))
    return f"{60_000 - ports}-59999"


def _policy(intensity: int, modules: Sequence[str], ports: str) -> ScanPolicy:
    return ScanPolicy(name="measured", modules={name: {} for name in modules}, intensity=intensity, ports=ports)


def _scans(count: int) -> str:
    return "1 scan" if count == 1 else f"{count} scans at once"
