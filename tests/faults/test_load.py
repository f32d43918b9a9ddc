"""Many at once: the same request fifty times, a thousand scans purged, two hundred clients for a minute."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import func, select

from footprint.admission import NewScan
from footprint.policy import ScanPolicy
from footprint.records import Host
from footprint.store.scans import attach, insert_scan
from footprint.store.tables import Scan
from tests.faults.ground import POLICY, Ground, Plot, Told, until
from tests.faults.resources import Held, held_by

CLIENTS, SECONDS = 200, 60.0
MANY, WITH_RUNS = 1000, 20


@pytest.mark.short
def test_fifty_requests_with_one_key_are_one_scan_and_one_run(ground: Ground) -> None:
    plot, key = ground.plot(), uuid4().hex
    with ThreadPoolExecutor(50) as pool:
        asked = list(pool.map(lambda _: ground.ask(plot, key), range(50)))
    assert len({(scan["id"], scan["task_id"]) for scan in asked}) == 1
    scan = asked[0]
    with ground.store.read() as session:
        assert session.scalar(select(func.count()).where(Scan.target == plot.network)) == 1
    wanted = {"flow_runs": {"name": {"any_": [f"{plot.network} inline"]}}}
    assert ground.prefect.post("/flow_runs/count", json=wanted).raise_for_status().json() == 1
    assert ground.finish(scan)["status"] == "SUCCESS"


def test_a_thousand_scans_that_wait_are_purged_within_seconds(ground: Ground) -> None:
    plot = ground.plot("hold")
    running = ground.ask(plot)
    ground.tool(running)
    with ground.paused():
        waiting = [UUID(ground.ask(plot)["id"]) for _ in range(WITH_RUNS)]
        # While Prefect is shut out nobody misses the runs of the others: a thousand would keep its SQLite busy for
        # minutes, and it is the store that is asked.
        ground.gateway.close_door()
        waiting += _without_runs(ground, MANY - WITH_RUNS)
        began = time.monotonic()
        answers = [ground.api.post("/api/scans/purge/").json()]
        seconds = time.monotonic() - began
        answers.append(ground.api.post("/api/scans/purge/").json())
        ground.gateway.open_door()
        assert answers == [{"revoked": MANY}, {"revoked": 0}]
        assert seconds < 10
        with ground.store.read() as session:
            left = select(Scan.status, func.count()).where(Scan.id.in_(waiting)).group_by(Scan.status)
            assert [tuple(row) for row in session.execute(left)] == [("REVOKED", MANY)]
        assert ground.read(running)["status"] == "STARTED"
        until(lambda: _scheduled(ground) == 0, 60)
    ground.behave(plot)
    assert ground.attempts(ground.is_whole(running, plot)) == (1, 0)


def _without_runs(ground: Ground, count: int) -> list[UUID]:
    """Scans that wait, as the store has them."""
    policy = ScanPolicy.model_validate({**POLICY, "name": "inline"})
    with ground.store.write() as session:
        asked = (NewScan(Host("127.91.0.1"), policy, str(number), "api") for number in range(count))
        made = [insert_scan(session, one)[0].id for one in asked]
        assert all(attach(session, one, uuid4()) for one in made)
    return made


def _scheduled(ground: Ground) -> int:
    """How many runs of scans wait, by Prefect's count; those of maintenance always do."""
    wanted = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED", "PENDING"]}}}}
    wanted |= {"flows": {"name": {"any_": ["dispatch_scan"]}}}
    with suppress(httpx.TimeoutException):
        return int(ground.prefect.post("/flow_runs/count", json=wanted).raise_for_status().json())
    return -1


def test_two_hundred_clients_are_answered_for_a_minute_while_scans_go_on(ground: Ground) -> None:
    ground.undisturbed()
    plots = [ground.plot() for _ in range(10)]
    scans = [ground.ask(plot) for plot in plots[:2]]
    codes, samples = asyncio.run(_load(ground, [scan["id"] for scan in scans], plots[2:], scans))
    assert set(codes) <= {200}, codes
    assert codes[200] > CLIENTS * 10
    for scan, plot in zip(scans, plots, strict=True):
        assert ground.attempts(ground.is_whole(scan, plot)) == (1, 0)
    # One for each client, one for each connection of its store's pool with its file and its log, and what it had.
    assert max(held.descriptors for held in samples) < 2 * CLIENTS
    assert max(held.threads for held in samples) < 100
    assert max(held.megabytes for held in samples) < samples[0].megabytes + 100


async def _load(
    ground: Ground, ids: list[str], plots: list[Plot], scans: list[Told]
) -> tuple[Counter[int], list[Held]]:
    """Have clients read for a while, and ask for a scan of each plot meanwhile."""
    codes: Counter[int] = Counter()
    samples: list[Held] = []
    deadline = time.monotonic() + SECONDS
    paths = ["/api/scans/", *(f"/api/scans/{one}/{more}" for one in ids for more in ("", "services/", "explain/"))]
    limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
    headers = dict(ground.api.headers)
    async with httpx.AsyncClient(base_url=ground.api.base_url, headers=headers, limits=limits, timeout=60) as client:

        async def read(number: int) -> None:
            await asyncio.sleep(number / CLIENTS)
            while time.monotonic() < deadline:
                answer = await client.get(paths[number % len(paths)])
                codes[answer.status_code] += 1
                await asyncio.sleep(1)

        async def ask() -> None:
            for plot in plots:
                scans.append(await asyncio.to_thread(ground.ask, plot))
                await asyncio.sleep(SECONDS / len(plots) / 2)

        async def sample() -> None:
            while time.monotonic() < deadline:
                samples.append(held_by(ground.part("api")) or Held(0, 0, 0))
                await asyncio.sleep(1)

        await asyncio.gather(ask(), sample(), *map(read, range(CLIENTS)))
    return codes, samples
