"""One platform for all end-to-end tests: a real Prefect server, worker and API, in a home and on ports of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.platform import Platform
from footprint.settings import Settings
from tests.conftest import free_port
from tests.estate.name_server import NameServer

TERMINAL = {"SUCCESS", "FAILURE", "REVOKED"}
ZONE = {
    "example.test": ["A 127.0.70.1"],
    "www.example.test": ["CNAME example.test."],
    "cdn.example.test": ["CNAME edge.foreign.test."],
    "edge.foreign.test": ["A 127.0.70.9"],
    "inside.example.test": ["A 10.1.2.3"],
}
"""What the name server of these tests answers. Nothing of it lies outside loopback but an address that is refused."""

Scan = dict[str, Any]


class PrefectClient(httpx.Client):
    """Asks Prefect again while it answers 503, as its own client does: on SQLite it is locked now and then."""

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send a request, up to six times."""
        for _ in range(5):
            answer = super().send(request, **options)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return answer
            time.sleep(1)
        return super().send(request, **options)


@dataclass(frozen=True, slots=True)
class Running:
    """The platform under test: clients of its API and of its Prefect server, and where it keeps its state."""

    settings: Settings
    api: httpx.Client
    prefect: PrefectClient

    def ask(self, target: str, policy: str | dict[str, Any] = "quick", **headers: str) -> Scan:
        """Ask for a scan."""
        answer = self.api.post("/api/scans/", json={"target": target, "policy": policy}, headers=headers)
        assert answer.status_code == 201, answer.text
        scan: Scan = answer.json()
        return scan

    def read(self, scan: Scan) -> Scan:
        """The scan as it is now."""
        now: Scan = self.api.get(f"/api/scans/{scan['id']}/").json()
        return now

    def finish(self, scan: Scan, seconds: float = 120) -> Scan:
        """Wait for the scan's end; on the way its progress never falls."""
        until, progress = time.monotonic() + seconds, 0
        while (now := self.read(scan))["status"] not in TERMINAL:
            assert time.monotonic() < until, now
            assert progress <= now["progress"] < 100
            progress = now["progress"]
            time.sleep(0.1)
        return now

    def services(self, scan: Scan) -> set[tuple[str, int, str | None, str | None]]:
        """Host, port, product and version of all services the scan saw."""
        found, url = [], f"/api/scans/{scan['id']}/services/?page_size=100"
        while url:
            page = self.api.get(url).json()
            found += page["results"]
            url = page["next"]
        return {(seen["host"], seen["port"], seen["product"], seen["version"]) for seen in found}

    def await_state(self, run_id: str, wanted: str, seconds: float = 60) -> dict[str, Any]:
        """Wait for a Prefect flow run to be in a state of this type."""
        until = time.monotonic() + seconds
        run: dict[str, Any] = self.prefect.get(f"/flow_runs/{run_id}").json()
        while run["state"]["type"] != wanted:
            assert time.monotonic() < until, run["state"]
            time.sleep(0.2)
            run = self.prefect.get(f"/flow_runs/{run_id}").json()
        return run

    def await_units(self, scan: Scan, seconds: float = 60) -> Scan:
        """Wait until a unit of the scan runs."""
        until = time.monotonic() + seconds
        now = self.read(scan)
        while not any(module["running"] for module in now["modules"]):
            assert now["status"] not in TERMINAL, now
            assert time.monotonic() < until, now
            time.sleep(0.05)
            now = self.read(scan)
        return now


@pytest.fixture(scope="session")
def names() -> Iterator[NameServer]:
    """The name server that the platform asks."""
    with NameServer(ZONE) as server:
        yield server


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory, names: NameServer) -> Iterator[Running]:
    """The platform, started once."""
    settings = Settings(
        home=tmp_path_factory.mktemp("home"),
        api_port=free_port(),
        prefect_port=free_port(),
        scope_allow=("127.0.0.0/8",),  # type: ignore[arg-type]
        scope_exclude=("127.0.99.0/24",),
        notify_allow=("127.0.0.0/8",),  # type: ignore[arg-type]
        resolvers=(names.address,),
        schedule_min_interval=60,
    )
    said: list[str] = []
    with Platform(settings, on_event=said.append) as addresses:
        token = (settings.home / "token").read_text().strip()
        user, _, password = (settings.home / "prefect-auth").read_text().strip().partition(":")
        headers = {"Authorization": f"Token {token}"}
        with (
            httpx.Client(base_url=addresses.api, headers=headers, timeout=30) as api,
            PrefectClient(base_url=addresses.prefect_api, auth=(user, password), timeout=30) as prefect,
        ):
            take_csrf_token(prefect)
            yield Running(settings, api, prefect)
    assert not list(Path(settings.home / "work").glob("*")), "a scan left files behind"


def take_csrf_token(prefect: httpx.Client) -> None:
    """Have this client's writes taken by a Prefect server that wants a token with them."""
    answer = prefect.get("/csrf-token", params={"client": "tests"})
    if answer.status_code == 200:
        prefect.headers["Prefect-Csrf-Client"] = "tests"
        prefect.headers["Prefect-Csrf-Token"] = answer.json()["token"]
