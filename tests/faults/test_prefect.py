"""A Prefect server that is killed, stands still or answers 503 while a scan runs: scans go on, and can be cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from uuid import UUID, uuid4

import pytest

from tests.faults.clock import CLOCK
from tests.faults.ground import Ground, until
from tests.processes import marked

AWAY_SECONDS = 30.0

Fault = Callable[[Ground], AbstractContextManager[None]]


def _standing_still(ground: Ground) -> AbstractContextManager[None]:
    return ground.stalled("server")


@contextmanager
def _answering_503(ground: Ground) -> Iterator[None]:
    ground.gateway.close_door()
    before = ground.gateway.refused
    try:
        yield
        assert ground.gateway.refused > before
    finally:
        ground.gateway.open_door()
        CLOCK.strike()


@pytest.mark.fault("Prefect {} for 30 s")
@pytest.mark.parametrize(
    "fault", [pytest.param(_standing_still, id="stands still"), pytest.param(_answering_503, id="answers 503")]
)
def test_a_scan_outlasts_a_prefect_that_does_not_answer(ground: Ground, fault: Fault) -> None:
    ground.undisturbed()
    plot, other = ground.plot("hold"), ground.plot("hold")
    scan, unwanted = ground.ask(plot), ground.ask(other)
    for asked in (scan, unwanted):
        ground.tool(asked)
    third, key = ground.plot(), uuid4().hex
    began = time.monotonic()
    with fault(ground):
        ground.behave(plot)
        refused = ground.try_to_ask(third, key)
        assert (refused.status_code, refused.json()["error"]) == (503, "prefect_unavailable"), refused.text
        assert int(refused.headers["Retry-After"]) > 0
        cancelled = time.monotonic()
        assert ground.act(unwanted, "cancel").status_code == 202
        ground.reach(unwanted, "REVOKED", 20)
        assert marked(UUID(unwanted["id"])) == set()
        assert time.monotonic() - cancelled < 15, "the store's flag is enough"
        until(lambda: _is_missed(ground), 15)
        assert ground.read(scan)["status"] in ("STARTED", "SUCCESS")
        time.sleep(max(0.0, AWAY_SECONDS - (time.monotonic() - began)))
    assert ground.attempts(ground.is_whole(scan, plot)) == (1, 0)
    late = until(lambda: (told := ground.try_to_ask(third, key)).status_code == 201 and told, 120)
    assert late.json()["target"] == third.network
    assert ground.finish(late.json())["status"] == "SUCCESS"


def _is_missed(ground: Ground) -> bool:
    """Whether the API's own health says that Prefect is away."""
    parts = {part["name"]: part["status"] for part in ground.api.get("/api/health/").raise_for_status().json()["parts"]}
    return parts["prefect"] == "fail"


@pytest.mark.fault("kill -9 of the Prefect server")
def test_a_prefect_server_that_is_killed_is_started_again_and_the_scan_goes_on(ground: Ground) -> None:
    ground.undisturbed()
    plot = ground.plot("hold")
    scan = ground.ask(plot)
    ground.tool(scan)
    old = ground.part("server")
    ground.kill(old)
    ground.behave(plot)
    assert ground.attempts(ground.is_whole(scan, plot)) == (1, 0)
    ground.await_part("server", old)
    until(ground.is_prefect_there, 60)
    plot = ground.plot()
    assert ground.attempts(ground.is_whole(ground.ask(plot), plot)) == (1, 0), "the old worker takes the next one up"


@pytest.mark.fault("kill -9 of server, worker and flow at once")
def test_everything_is_killed_at_once_and_the_scan_ends_whole(ground: Ground) -> None:
    ground.undisturbed()
    plot = ground.plot("hold")
    scan = ground.ask(plot)
    ground.tool(scan)
    ground.kill(ground.part("server"), ground.part("worker"), ground.flow(scan))
    ground.behave(plot)
    ground.reach(scan, "RETRY", 90)
    assert ground.attempts(ground.is_whole(scan, plot)) == (2, 1)
