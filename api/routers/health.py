"""`/api/health/`: how the platform is, without a token and without waiting for Prefect."""

from __future__ import annotations

from fastapi import APIRouter, Response
from sqlalchemy import text

from api.follower import Follower
from api.given import FollowerDep, StoreDep
from api.schemas import HealthOut, PartOut
from footprint.errors import StoreUnavailable
from footprint.store import Store

health = APIRouter(prefix="/api/health", tags=["health"])


@health.get("/", responses={503: {"model": HealthOut, "description": "The store does not answer."}})
def read_health(response: Response, store: StoreDep, follower: FollowerDep) -> HealthOut:
    """Each part by name; 503 only where nothing can be read."""
    parts = [PartOut(name="api", status="ok", detail="answers"), _store(store), *_prefect(follower)]
    states = {part.status for part in parts}
    if parts[1].status == "fail":
        response.status_code = 503
        return HealthOut(status="down", parts=parts)
    return HealthOut(status="ok" if states == {"ok"} else "degraded", parts=parts)


def _store(store: Store) -> PartOut:
    try:
        with store.read() as session:
            session.execute(text("SELECT 1"))
    except StoreUnavailable as away:
        return PartOut(name="store", status="fail", detail=away.detail)
    return PartOut(name="store", status="ok", detail="answers")


def _prefect(follower: Follower) -> list[PartOut]:
    heard = follower.health
    if not heard.server:
        last = f", last heard at {follower.heard_at.isoformat(timespec='seconds')}" if follower.heard_at else ""
        away = PartOut(name="prefect", status="fail", detail=f"{heard.detail}{last}")
        return [away, *(PartOut(name=name, status="warn", detail="not known") for name in ("pool", "workers"))]
    workers = ", ".join(heard.workers) or "none online: start one with `pulsar worker`"
    return [
        PartOut(name="prefect", status="ok", detail=heard.detail),
        PartOut(name="pool", status="warn" if heard.pool == "paused" else "ok", detail=heard.pool or "unknown"),
        PartOut(name="workers", status="ok" if heard.workers else "warn", detail=workers),
    ]
