"""`make bench`: what the platform costs beside bare tools, and how fast it answers. Bounded, on loopback
and in network namespaces."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from uuid import UUID

import httpx

from deployments.platform import Platform
from footprint.settings import Settings
from tests.bench.budget import budget
from tests.bench.discovery import discovery
from tests.bench.load import load
from tests.conftest import free_port
from tests.estate.listeners import HTTP, RANGE_PORTS, SMTP, Listeners, test_range
from tests.processes import marked

STARTS = 10
HOSTS = 64
PORTS = RANGE_PORTS | {3000: SMTP, 8080: HTTP, 8888: HTTP}
RANGE = "127.0.64.0/26"
WAIT_SECONDS = 600


def main(names: list[str]) -> int:
    """Run the measurements named, or all; prints one block each."""
    chosen = names or [*MEASUREMENTS, *APART]
    for name in chosen:
        if name in APART:
            APART[name]()
    if here := [name for name in chosen if name in MEASUREMENTS]:
        _measure(here)
    return 0


def _measure(names: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="pulsar-bench-") as home:
        settings = Settings(
            home=Path(home),
            api_port=free_port(),
            prefect_port=free_port(),
            scope_allow=("127.0.0.0/8",),  # type: ignore[arg-type]
        )
        print("starting a platform of its own")
        with Platform(settings, on_event=print) as addresses:
            token = (settings.home / "token").read_text().strip()
            bench = Bench(addresses.api, addresses.prefect_api, token, settings.home)
            for name in names:
                MEASUREMENTS[name](bench)


class Bench:
    """The platform under measurement."""

    def __init__(self, api: str, prefect_api: str, token: str, home: Path) -> None:
        self.prefect_api = prefect_api
        self.headers = {"Authorization": f"Token {token}"}
        self.http = httpx.Client(base_url=api, headers=self.headers, timeout=30)
        self.url = api
        self.prefect_auth = httpx.BasicAuth(*(home / "prefect-auth").read_text().strip().split(":", 1))

    def ask(self, target: str, policy: str) -> UUID:
        """Ask for a scan; returns its id."""
        answer = self.http.post("/api/scans/", json={"target": target, "policy": policy})
        answer.raise_for_status()
        return UUID(answer.json()["id"])

    def finish(self, scan_id: UUID) -> dict[str, object]:
        """Wait for a scan's end."""
        until = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < until:
            scan: dict[str, object] = self.http.get(f"/api/scans/{scan_id}/").json()
            if scan["status"] in ("SUCCESS", "FAILURE", "REVOKED"):
                return scan
            time.sleep(0.1)
        raise TimeoutError("the scan did not end")


def scan_overhead(bench: Bench) -> None:
    """A quick scan of 64 hosts through the platform, beside one bare nmap that does the same work."""
    with test_range(HOSTS, "127.0.64.0", PORTS) as listeners:
        began = time.monotonic()
        scan = bench.finish(bench.ask(RANGE, "quick"))
        ours = time.monotonic() - began
        bare = _bare_nmap(listeners)
    found = scan["counts"]
    expected = len(listeners.truth)
    print(f"\nscan of {HOSTS} hosts, policy quick: {found}, {expected} services there")
    print(f"  platform {ours:6.1f} s, one bare nmap {bare:6.1f} s, ratio {ours / bare:.2f} (aim: at most 0.4)")


def _bare_nmap(listeners: Listeners) -> float:
    options = ["-n", "-sS", "-sV", "-T4", "--top-ports", "100", "--version-intensity", "7", "-oX", "-"]
    with tempfile.NamedTemporaryFile("w", suffix=".targets") as targets:
        targets.write("\n".join(listeners.addresses))
        targets.flush()
        began = time.monotonic()
        subprocess.run(
            ["nmap", *options, "-iL", targets.name], check=True, stdout=subprocess.DEVNULL, timeout=WAIT_SECONDS
        )
        return time.monotonic() - began


def time_to_first_tool(bench: Bench) -> None:
    """From the POST to the first process of a tool, with a warm worker."""
    times = []
    for _ in range(STARTS):
        began = time.monotonic()
        scan_id = bench.ask("127.0.0.1", "network_sweep")
        while not marked(scan_id) and time.monotonic() < began + 60:
            time.sleep(0.02)
        times.append(time.monotonic() - began)
        bench.finish(scan_id)
    print(f"\nPOST to first tool process, {STARTS} times, warm worker")
    print(f"  median {median(times):.2f} s, p95 {quantiles(times, n=20)[-1]:.2f} s (aim: median at most 3-5 s)")


def reads(bench: Bench) -> None:
    """Ten clients reading one scan, a scan each, the list of scans, and the same run from Prefect's own API."""
    scans = [bench.finish(bench.ask("127.0.0.1", "network_sweep")) for _ in range(10)]
    urls = [f"{bench.url}/api/scans/{scan['id']}/" for scan in scans]
    request = httpx.Request("GET", bench.prefect_api)
    authorization = next(bench.prefect_auth.auth_flow(request)).headers["Authorization"]
    theirs = load([f"{bench.prefect_api}/flow_runs/{scans[0]['task_id']}"], {"Authorization": authorization})
    print("\nreads, 10 clients for 5 s each")
    print(f"  Prefect's own flow run          {theirs}")
    for name, asked in (
        ("GET /api/scans/{id}/, one scan ", urls[:1]),
        ("GET /api/scans/{id}/, ten scans", urls),
        ("GET /api/scans/                ", [f"{bench.url}/api/scans/"]),
    ):
        ours = load(asked, bench.headers)
        print(f"  {name} {ours}, {ours.rate / theirs.rate:.1f} x Prefect's rate (aim: 10)")


MEASUREMENTS: dict[str, Callable[[Bench], None]] = {
    "overhead": scan_overhead,
    "start": time_to_first_tool,
    "reads": reads,
}
APART: dict[str, Callable[[], None]] = {"discovery": discovery, "budget": budget}
"""Measurements with a platform and a place of their own."""

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
