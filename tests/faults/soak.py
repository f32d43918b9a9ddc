"""Scan for a while, and end parts of the platform at random: `python -m tests.faults.soak --minutes 10 --seed 7`.

Scans are asked for every few seconds. Meanwhile the worker, flows, tools and the Prefect server are killed, stopped,
stalled and shut out, by a seed that is told. At the end every scan has to be over, with all that there was to find, and
nothing may be left. Prints a report; the exit code is 1 where something did not hold.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import httpx

from footprint.store.tables import Scan
from tests.faults.ground import Ground, Plot, standing, until
from tests.faults.invariants import Watch
from tests.faults.resources import Held, growth_in, held_by

SCAN_SECONDS, FAULT_SECONDS, SAMPLE_SECONDS = 4.0, 9.0, 5.0
"""How often, about, a scan is asked for, a fault made, and a process's belongings counted."""
MOST_AT_ONCE = 6
STALL_SECONDS = 6.0
CALM_SECONDS = 240.0
"""What scans get to end once nothing more is done to them."""
ACTS = (None, None, None, "hold", "hold", "garble", "daemonise")
"""What a scan's tool does. Of these, none takes anything from what there is to find."""


@dataclass
class Soak:
    """One run: what was done, and what came of it."""

    ground: Ground
    chance: random.Random
    scans: dict[str, Plot] = field(default_factory=dict)
    held: dict[Plot, float] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    touched: set[str] = field(default_factory=set)
    came: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[Held]] = field(default_factory=lambda: defaultdict(list))

    def run(self, seconds: float) -> None:
        """Do all of it for so long."""
        clock = time.monotonic
        due = {self._ask: clock(), self._fault: clock() + FAULT_SECONDS, self._sample: clock()}
        every = {self._ask: SCAN_SECONDS, self._fault: FAULT_SECONDS, self._sample: SAMPLE_SECONDS}
        deadline = clock() + seconds
        while clock() < deadline:
            for step, at in due.items():
                if clock() >= at:
                    step()
                    due[step] = clock() + every[step] * self.chance.uniform(0.5, 1.5)
            self._release()
            time.sleep(0.2)

    def calm_down(self) -> None:
        """Make no more faults, and wait for the end of every scan."""
        for plot in self.held:
            self.ground.behave(plot)
        until(lambda: not self.ground.live(), CALM_SECONDS, lambda: self.ground.live())

    def _ask(self) -> None:
        if len(self.ground.live()) >= MOST_AT_ONCE:
            return
        act = self.chance.choice(ACTS)
        plot = self.ground.plot(act, self.chance.choice(("discovery", "ports", "versions")))
        if act == "hold":
            self.held[plot] = time.monotonic() + self.chance.uniform(1, 15)
        with suppress(httpx.HTTPError):
            answer = self.ground.try_to_ask(plot)
            if answer.status_code == 201:
                self.scans[answer.json()["id"]] = plot
            else:
                self.refused[f"{answer.status_code} {answer.json()['error']}"] += 1

    def _release(self) -> None:
        for plot, at in list(self.held.items()):
            if time.monotonic() > at:
                self.ground.behave(plot)
                del self.held[plot]

    def _sample(self) -> None:
        for name in ("api", "worker", "server"):
            with suppress(KeyError):
                pid = self.ground.part(name)
                if (found := held_by(pid)) is not None:
                    self.samples[f"{name} {pid}"].append(found)

    def _fault(self) -> None:
        fault = self.chance.choice(FAULTS)
        # Whatever was to be ended may be gone, and the process is another's by then: then nothing is done.
        with suppress(ProcessLookupError, AssertionError, KeyError, IndexError):
            fault(self)
            self.faults[fault.__name__.strip("_").replace("_", " ")] += 1

    def _kill_flow(self) -> None:
        self.ground.kill(self.chance.choice(sorted(self.ground.flows())))

    def _kill_tool(self) -> None:
        pid = self.chance.choice(sorted(self.ground.tools()))
        with suppress(OSError):
            for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                if variable.startswith(b"PULSAR_SCAN="):
                    self.touched.add(variable.partition(b"=")[2].decode())
        self.ground.kill(pid)

    def _kill_worker(self) -> None:
        self.ground.kill(self.ground.part("worker"))

    def _kill_worker_and_flows(self) -> None:
        self.ground.kill(self.ground.part("worker"), *self.ground.flows())

    def _stop_worker(self) -> None:
        self.ground.kill(self.ground.part("worker"), number=signal.SIGTERM)

    def _stall_worker(self) -> None:
        worker = self.ground.part("worker")
        self.ground.kill(worker, number=signal.SIGSTOP)
        time.sleep(STALL_SECONDS)
        self.ground.kill(worker, number=signal.SIGCONT)

    def _kill_prefect_server(self) -> None:
        self.ground.kill(self.ground.part("server"))

    def _shut_prefect_out(self) -> None:
        self.ground.gateway.close_door()
        time.sleep(STALL_SECONDS)
        self.ground.gateway.open_door()

    def _lock_store(self) -> None:
        database = self.ground.settings.store_url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(database, timeout=10, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(STALL_SECONDS)
            other.execute("ROLLBACK")

    def broken(self) -> list[str]:
        """Every scan that did not end as it has to."""
        return [said for scan_id, plot in self.scans.items() if (said := self._judge(scan_id, plot))]

    def _judge(self, scan_id: str, plot: Plot) -> str:
        with self.ground.store.read() as session:
            scan = session.get_one(Scan, UUID(scan_id))
        self.came[f"{scan.status}, taken up {scan.attempt} times"] += 1
        name = f"scan {scan_id} of {scan.target}, attempt {scan.attempt}, {scan.losses} losses"
        if scan.status == "FAILURE" and scan.losses == 2 and "had been resumed 2 times before" in (scan.error or ""):
            return ""
        if scan.status != "SUCCESS":
            return f"{name}: {scan.status}: {scan.error}"
        if scan_id in self.touched:
            return ""  # its tool was killed: then it says so, or had been through
        found = {(host, port) for host, port in self.ground.products({"id": scan_id})}
        wanted = {(plot.address(1), 22), (plot.address(1), 80), (plot.address(2), 22)}
        if found != wanted or scan.warnings:
            return f"{name}: found {sorted(found)}, warnings {scan.warnings}"
        return ""


FAULTS: tuple[Callable[[Soak], None], ...] = (
    Soak._kill_flow,
    Soak._kill_flow,
    Soak._kill_tool,
    Soak._kill_worker,
    Soak._kill_worker_and_flows,
    Soak._stop_worker,
    Soak._stall_worker,
    Soak._kill_prefect_server,
    Soak._shut_prefect_out,
    Soak._lock_store,
)


def main(argv: list[str]) -> int:
    """Soak, and print the report; 0 where everything held."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long scans are asked for (10)")
    parser.add_argument("--seed", type=int, default=None, help="of all chances; one is drawn and told otherwise")
    asked = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(10_000) if asked.seed is None else asked.seed
    place = Path(tempfile.mkdtemp(prefix="soak-"))
    print(f"Soaking for {asked.minutes:g} minutes, seed {seed}.", flush=True)
    began = time.monotonic()
    with standing(place) as ground, Watch(ground.store) as watch:
        ground.undisturbed()
        soak = Soak(ground, random.Random(seed))
        soak.run(asked.minutes * 60)
        calm = time.monotonic()
        trouble = []
        try:
            soak.calm_down()
        except AssertionError as late:
            trouble.append(f"scans did not end: {late}")
        calm = time.monotonic() - calm
        trouble += [*watch.violations, *ground.violations(), *soak.broken()]
        trouble += [said for name, samples in soak.samples.items() for said in growth_in(name, samples)]
    trouble += [f"process {pid} is left of the platform" for pid in ground.family() if pid != os.getpid()]
    _report(soak, trouble, time.monotonic() - began, calm, watch.seen)
    if trouble:
        print(f"Logs are kept in {place}.")
        return 1
    shutil.rmtree(place)
    return 0


def _report(soak: Soak, trouble: list[str], seconds: float, calm: float, looks: int) -> None:
    print(f"\n{len(soak.scans)} scans in {seconds:.0f} s; all were over {calm:.0f} s after the last fault")
    for title, counted in (("scans", soak.came), ("faults", soak.faults), ("requests refused", soak.refused)):
        print(f"\n{title}")
        for name, count in sorted(counted.items()):
            print(f"  {count:5d}  {name}")
    print("\nheld by processes that lived for a minute and more: at first, in the middle, at last")
    for name, samples in soak.samples.items():
        if len(samples) * SAMPLE_SECONDS >= 60:
            first, middle, last = samples[len(samples) // 8], samples[len(samples) // 2], samples[-1]
            print(f"  {name}: {first}; {middle}; {last}")
    print(f"\n{looks} looks at rows of scans; {len(trouble)} things did not hold")
    for said in trouble:
        print(f"  {said}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
