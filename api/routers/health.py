"""`/api/health/`: how the platform is, without a token and without waiting for Prefect."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from fastapi import APIRouter, Response

from api.follower import Follower
from api.given import FollowerDep, SettingsDep, StoreDep
from api.prefect import VERSION
from api.schemas import HealthOut, PartOut
from footprint import doctor
from footprint.checkup import check_home, check_store, silence
from footprint.doctor import Health, Line
from footprint.settings import Settings

CORE = frozenset({"api", "store", "migrations", "prefect", "prefect_auth", "pool", "workers"})
"""Parts without any of which scans wait. Of the others, a warning is only a warning."""

health = APIRouter(prefix="/api/health", tags=["health"])


@health.get("/", responses={503: {"model": HealthOut, "description": "The store does not answer."}})
def read_health(response: Response, store: StoreDep, follower: FollowerDep, settings: SettingsDep) -> HealthOut:
    """Each part by name, with what to do; 503 only where nothing can be read. Tools: `pulsar doctor`."""
    stored, seen = check_store(store, by_writing=False)
    lines = [doctor.ok("api", "answers"), *stored[:1], *_prefect(follower, settings), *stored[1:]]
    lines += check_home(settings, seen, follower.health.seen)
    parts = [PartOut(name=line.name, status=line.health, detail=line.detail, remedy=line.remedy) for line in lines]
    if seen is None:
        response.status_code = 503
        return HealthOut(status="down", parts=parts)
    return HealthOut(status="degraded" if any(map(_is_felt, lines)) else "ok", parts=parts)


def _is_felt(line: Line) -> bool:
    return line.health is Health.FAIL or (line.health is Health.WARN and line.name in CORE)


def _prefect(follower: Follower, settings: Settings) -> Iterator[Line]:
    heard = follower.health
    if heard.seen is None:
        last = f", last heard at {follower.heard_at.isoformat(timespec='seconds')}" if follower.heard_at else ""
        return doctor.prefect_away(f"{heard.detail}{last}", refused=heard.refused)
    # What was heard then is judged as of then.
    return doctor.judge_prefect(heard.seen, VERSION, follower.heard_at or datetime.now(UTC), silence(settings))
