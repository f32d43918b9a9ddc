"""The platform that faults are tried on, and what a test does to it and asks of it.

A real Prefect server behind a gateway, a real worker, real flow processes and the API, in a home of their own. The
store lies on a small file system of its own where that can be mounted. nmap is a stand-in (stage.py).
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Self, TypeVar, cast
from unittest.mock import patch
from uuid import UUID, uuid4

import httpx
from sqlalchemy import select

import deployments.platform
from deployments.blueprint import Blueprint
from deployments.platform import Platform
from footprint import failpoints
from footprint.failpoints import Point
from footprint.settings import Settings
from footprint.states import LIVE
from footprint.store import Store, open_store
from footprint.store.tables import CoverageRow, ModuleRun, Scan, Sighting
from tests.conftest import free_port
from tests.e2e.conftest import TERMINAL, PrefectClient, take_csrf_token
from tests.faults import invariants
from tests.faults.clock import CLOCK
from tests.faults.gateway import Gateway
from tests.faults.small_disk import small_disk
from tests.faults.stage import Stage, command_of, name_of, parent_of, tree_below
from tests.processes import marked

T = TypeVar("T")
Told = dict[str, Any]
POLICY: dict[str, Any] = {
    "modules": {"nmap_discovery": {}, "nmap": {"scripts": [], "os_guess": False}},
    "ports": "22,80,443",
    "intensity": 4,
    "unit_timeout": 120,
    "required": ["nmap"],
}
SERVED = {1: (22, 80), 2: (22,), 3: ()}
"""What the hosts of a plot have open, by their last number."""
_plots = count(1)


def until(truth: Callable[[], T], seconds: float, what: Callable[[], object] = lambda: "") -> T:
    """Wait for something to be true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := truth()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what()}"
        time.sleep(0.05)
    return found


@dataclass(frozen=True, slots=True)
class Plot:
    """A network of a test's own, on loopback; `SERVED` is what is there."""

    number: int

    @property
    def network(self) -> str:
        """Its CIDR."""
        return f"{self._prefix}0/29"

    def address(self, last: int) -> str:
        """One of its addresses."""
        return f"{self._prefix}{last}"

    def general(self, text: str) -> str:
        """A text with no trace of which plot it is."""
        return text.replace(self._prefix, "PLOT.")

    @property
    def _prefix(self) -> str:
        return f"127.90.{self.number}."


@dataclass
class Ground:
    """The platform under test. What its methods take as `scan` is what the API told of it."""

    settings: Settings
    platform: Platform
    api: httpx.Client
    prefect: PrefectClient
    store: Store
    stage: Stage
    gateway: Gateway
    points: Path
    temporary: Path
    is_disk_small: bool
    holding: dict[str, Path] = field(default_factory=dict)
    truth: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def plot(self, act: str | None = None, at: str = "versions", host: int = 1) -> Plot:
        """A new network; one host of it may misbehave."""
        new = Plot(next(_plots))
        for last, ports in SERVED.items():
            self.stage.play(new.address(last), ports, *((act, at) if last == host else ()))
        if act == "hold":
            self.holding[new.network] = self.stage.held(new.address(host))
        return new

    def behave(self, plot: Plot) -> None:
        """From now on, nobody there misbehaves."""
        for last, ports in SERVED.items():
            self.stage.play(plot.address(last), ports)

    def try_to_ask(self, plot: Plot, key: str = "", **policy: Any) -> httpx.Response:
        """Ask for a scan, once."""
        body = {"target": plot.network, "policy": POLICY | policy}
        return self.api.post("/api/scans/", json=body, headers={"Idempotency-Key": key or uuid4().hex})

    def ask(self, plot: Plot, key: str = "", **policy: Any) -> Told:
        """Ask for a scan, and again with the same key while Prefect is busy."""
        key = key or uuid4().hex

        def asked() -> Told | None:
            answer = self.try_to_ask(plot, key, **policy)
            assert answer.status_code in (201, 503), answer.text
            return dict(answer.json()) if answer.status_code == 201 else None

        # A Prefect on SQLite may stand still for the minute that its writers wait for one another.
        return until(asked, 120)

    def read(self, scan: Told) -> Told:
        """The scan as it is now."""
        return dict(self.api.get(f"/api/scans/{scan['id']}/").raise_for_status().json())

    def act(self, scan: Told, verb: str) -> httpx.Response:
        """Do something with a scan."""
        asked_at = time.monotonic()
        answer = self.api.post(f"/api/scans/{scan['id']}/{verb}/")
        if verb == "cancel" and answer.status_code == httpx.codes.ACCEPTED:
            CLOCK.strike(asked_at)
        return answer

    def reach(self, scan: Told, status: str, seconds: float = 60) -> Told:
        """Wait for a scan to have a status."""
        found = until(
            lambda: now if (now := self.read(scan))["status"] == status else None, seconds, lambda: self.read(scan)
        )
        if status in TERMINAL:
            CLOCK.end(status)
        return cast(Told, found)

    def finish(self, scan: Told, seconds: float = 90) -> Told:
        """Wait for a scan's end."""
        ended = until(
            lambda: now if (now := self.read(scan))["status"] in TERMINAL else None, seconds, lambda: self.read(scan)
        )
        CLOCK.end(ended["status"])
        return ended

    def result(self, scan: Told, plot: Plot) -> Counter[tuple[str, ...]]:
        """All that a scan knows: each unit's status, inputs, coverage and sightings, and how often each is there."""
        units = select(ModuleRun).where(ModuleRun.scan_id == UUID(scan["id"]))
        found: Counter[tuple[str, ...]] = Counter()
        with self.store.read() as session:
            for unit in session.scalars(units):
                name = (unit.module, unit.status, plot.general(str(unit.inputs)))
                found["unit", *name] += 1
                covered = select(CoverageRow).where(CoverageRow.module_run_id == unit.id)
                for one in session.scalars(covered):
                    found["coverage", *name, plot.general(one.subject), one.outcome, plot.general(one.note)] += 1
                for seen in session.scalars(select(Sighting).where(Sighting.module_run_id == unit.id)):
                    found["sighting", *name, seen.kind, plot.general(str(seen.facts))] += 1
        return found

    def undisturbed(self) -> Counter[tuple[str, ...]]:
        """What a scan of a plot comes to when nothing happens to it; found out once."""
        if not self.truth:
            plot = self.plot()
            ended = self.finish(self.ask(plot))
            assert (ended["status"], ended["counts"]["services"]) == ("SUCCESS", 3), ended
            self.truth = self.result(ended, plot)
        return self.truth

    def is_whole(self, scan: Told, plot: Plot) -> Told:
        """Wait for the scan's end: it is as good as if nothing had happened."""
        ended = self.finish(scan)
        assert (ended["status"], ended["warnings"], ended["error"]) == ("SUCCESS", [], None), ended
        assert self.result(ended, plot) == self.undisturbed()
        assert ended["counts"]["services"] == 3
        CLOCK.end(ended["status"], is_whole=True)
        return ended

    def products(self, scan: Told) -> dict[tuple[str, int], str | None]:
        """What was recognised, by host and port."""
        page = self.api.get(f"/api/scans/{scan['id']}/services/?page_size=100").raise_for_status().json()
        return {(seen["host"], seen["port"]): seen["product"] for seen in page["results"]}

    def attempts(self, scan: Told) -> tuple[int, int]:
        """How often the scan was taken up, and how many workers it lost."""
        with self.store.read() as session:
            row = session.get_one(Scan, UUID(scan["id"]))
            return row.attempt, row.losses

    def tool(self, scan: Told, seconds: float = 30) -> int:
        """Wait for the stand-in to work for the scan, and to wait where it is to; its process."""
        if (held := self.holding.get(scan["target"])) is not None:
            until(held.exists, seconds, lambda: self.read(scan))
        name = str(self.stage.directory / "nmap").encode()

        def found() -> int | None:
            own = [pid for pid in marked(UUID(scan["id"])) if (words := command_of(pid)) and name in words[:3]]
            return own[0] if own else None

        return until(found, seconds, lambda: self.read(scan))

    def flow(self, scan: Told) -> int:
        """The process of the scan's flow: the nearest ancestor of its tool without its mark."""
        pid, own = self.tool(scan), marked(UUID(scan["id"]))
        while pid in own:
            pid = parent_of(pid)
        return pid

    def part(self, name: str) -> int:
        """The process of a part: worker, server, api."""
        return self.platform._parts[name].pid

    def kill(self, *pids: int, number: int = signal.SIGKILL) -> None:
        """Signal processes that came of this platform, and no other."""
        own = set(self.family())
        for pid in pids:
            assert pid in own, f"{pid} is not ours"
            os.kill(pid, number)
        CLOCK.strike()

    def flows(self) -> list[int]:
        """The processes of all flows that are at work."""
        return [pid for pid in self.family() if name_of(pid) == "pulsar-run"]

    def tools(self) -> list[int]:
        """The stand-in's processes, of whatever scan."""
        name = str(self.stage.directory / "nmap").encode()
        return [pid for pid in self.family() if name in command_of(pid)[:3]]

    def family(self) -> list[int]:
        """What came of this platform, flows whose worker is gone and their tools among them."""
        mark = f"PULSAR_HOME={self.settings.home}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        found += tree_below(int(entry.name))
        return found

    def await_part(self, name: str, old: int, seconds: float = 60) -> int:
        """Wait until a part has been started again."""
        return until(lambda: new if (new := self._pid(name)) not in (None, old) else None, seconds)

    def _pid(self, name: str) -> int | None:
        part = self.platform._parts.get(name)
        return part.pid if part and part.exit_code() is None else None

    def is_prefect_there(self) -> bool:
        """Whether the Prefect server answers."""
        with suppress(httpx.HTTPError):
            return self.prefect.get("/health", timeout=2).status_code == httpx.codes.OK
        return False

    def arm(self, point: Point, what: str = "KILL") -> None:
        """Have the next flow that comes to a failpoint end or stop there."""
        draft = self.points / "draft"
        draft.write_text(what)
        draft.rename(self.points / point)

    def fired(self, point: Point, seconds: float = 60) -> int:
        """Wait for it; the process that came there."""
        pid = until(lambda: next((int(path.suffix[1:]) for path in self.points.glob(f"{point}.*")), 0), seconds)
        CLOCK.strike()
        return pid

    @contextmanager
    def stalled(self, name: str) -> Iterator[None]:
        """A part stands still meanwhile."""
        pid = self.part(name)
        self.kill(pid, number=signal.SIGSTOP)
        try:
            yield
        finally:
            self.kill(pid, number=signal.SIGCONT)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nobody takes up a scan meanwhile."""
        self.prefect.patch("/work_pools/pulsar", json={"is_paused": True}).raise_for_status()
        try:
            yield
        finally:
            # On it hangs whatever comes after.
            until(self._unpaused, 120)

    def _unpaused(self) -> bool:
        with suppress(httpx.HTTPError):
            return self.prefect.patch("/work_pools/pulsar", json={"is_paused": False}).is_success
        return False

    def kill_flow(self, scan: Told) -> None:
        """Kill the scan's flow when its tool waits."""
        self.kill(self.flow(scan))
        self.holding[scan["target"]].unlink()

    def go_on(self) -> None:
        """Whatever stands still goes on."""
        for pid in self.family():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def settle(self) -> None:
        """Leave nothing of a test at work: its scans are over before it is looked at what they left."""
        self.go_on()
        for path in self.points.iterdir():
            path.unlink()
        self.gateway.open_door()
        for scan_id in self.live():
            self.api.post(f"/api/scans/{scan_id}/cancel/")
        until(lambda: not self.live(), 90, self.live)

    def live(self) -> list[UUID]:
        """The scans that have not ended."""
        with self.store.read() as session:
            return list(session.scalars(select(Scan.id).where(Scan.status.in_(LIVE))))

    def violations(self) -> list[str]:
        """What does not hold now."""
        return invariants.violations(self.store, self.settings.home, self.temporary)


class Mended(Platform):
    """A platform that starts its parts again as often as a test ends them, each time as after the first."""

    def _may_restart(self) -> bool:
        self._restarts.clear()
        self._restarts.append(time.monotonic())
        return True


@contextmanager
def standing(place: Path, **changes: Any) -> Iterator[Ground]:
    """Start a platform below a directory; it is gone when the block ends."""
    with ExitStack() as stack:
        stage, points, temporary = Stage(place / "tools"), place / "points", place / "tmp"
        for directory in (points, temporary):
            directory.mkdir()
        disk, is_small = stack.enter_context(small_disk())
        settings = Settings(
            home=place / "home",
            api_port=free_port(),
            prefect_port=free_port(),
            scope_allow=("127.0.0.0/8",),  # type: ignore[arg-type]
            tools_path=(str(stage.directory),),
            scans_at_once=8,
            **{"database_url": f"sqlite:///{disk / 'pulsar.db'}"} | changes,
        )
        gateway = stack.enter_context(Gateway(settings.prefect_port))
        own = {failpoints.VARIABLE: str(points), "TMPDIR": str(temporary)}
        platform = Mended(settings, on_event=lambda said: None)
        with patch.object(deployments.platform, "Blueprint", _wired(gateway.port, own)):
            addresses = stack.enter_context(platform)
        token = (settings.home / "token").read_text().strip()
        user, _, password = (settings.home / "prefect-auth").read_text().strip().partition(":")
        headers = {"Authorization": f"Token {token}"}
        api = stack.enter_context(httpx.Client(base_url=addresses.api, headers=headers, timeout=60))
        behind = f"http://127.0.0.1:{settings.prefect_port}/api"
        prefect = stack.enter_context(PrefectClient(base_url=behind, auth=(user, password), timeout=120))
        take_csrf_token(prefect)
        store = open_store(settings.store_url)
        stack.callback(store.close)
        yield Ground(settings, platform, api, prefect, store, stage, gateway, points, temporary, is_small)


def _wired(port: int, own: dict[str, str]) -> type[Blueprint]:
    """A blueprint whose parts reach Prefect through the gateway, and have more in their environment."""

    class Wired(Blueprint):
        @classmethod
        def draw(cls, settings: Settings, secret: str, *, free_ports: bool) -> Self:
            drawn = super().draw(settings, secret, free_ports=free_ports)
            return replace(drawn, prefect_api=f"http://127.0.0.1:{port}/api")

        def environment(self) -> dict[str, str]:
            return super().environment() | own

    return Wired
