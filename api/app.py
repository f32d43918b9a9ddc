"""The application: `uvicorn --factory api.app:create_app`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI

from api import pages, problems
from api.access import Keys
from api.asking import Desk
from api.deliverer import Deliverer
from api.diagnosis import Diagnosis
from api.follower import Follower
from api.guard import SizeGuard
from api.kept_drifts import KeptDrifts
from api.lifecycle import Lifecycle
from api.prefect import PrefectGateway
from api.reading import Reader
from api.routers.assets import assets
from api.routers.details import asset_details, scan_details
from api.routers.diagnosis import diagnosis
from api.routers.differences import asset_changes, scan_differences
from api.routers.extensions import extensions
from api.routers.health import health
from api.routers.lifecycle import scan_verbs
from api.routers.modules import modules
from api.routers.notifications import scan_notifications, webhooks
from api.routers.policies import policies
from api.routers.previews import previews
from api.routers.scans import scans
from api.routers.schedules import schedules
from api.routers.scoping import asset_scopes, scan_scopes
from api.schedule_keeper import ScheduleKeeper
from api.scheduling import Schedules
from footprint.settings import Settings
from footprint.spool import Spool
from footprint.store import open_store

DESCRIPTION = """
Pulsar finds what an organisation exposes: names, addresses, services, weaknesses. A scan runs in the background: ask
for it, poll it by its id, read what it found. Every route but health needs the header `Authorization: Token …`.
"""


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the API of one installation; the settings come from the environment unless they are given."""
    chosen = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = open_store(chosen.store_url)
        try:
            async with PrefectGateway() as prefect:
                reader = Reader(store)
                desk = Desk(chosen, store, prefect)
                app.state.schedules = scheduling = Schedules(chosen, prefect, desk)
                keeper = ScheduleKeeper(store, prefect, scheduling)
                follower = Follower(
                    store, prefect, chosen.work_dir, Spool(chosen.spool_dir), on_change=reader.forget, keeper=keeper
                )
                app.state.settings, app.state.store, app.state.desk = chosen, store, desk
                app.state.lifecycle = lifecycle = Lifecycle(chosen, prefect, desk)
                app.state.kept_drifts = KeptDrifts()
                app.state.reader, app.state.follower, app.state.keys = reader, follower, Keys(store)
                app.state.diagnosis = Diagnosis(chosen, store, prefect, follower)
                deliverer = Deliverer(store, chosen, on_change=reader.forget)
                background = [asyncio.create_task(one.run()) for one in (follower, deliverer)]
                yield
                lifecycle.close()
                for task in background:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task
        finally:
            store.close()

    app = FastAPI(
        title="Pulsar", version="0.1.0", description=DESCRIPTION, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.add_middleware(SizeGuard)
    problems.install(app)
    pages.install(app)
    nouns = (scans, scan_verbs, scan_details, scan_scopes, scan_differences, scan_notifications)
    owned = (assets, asset_details, asset_scopes, asset_changes)
    for router in (*nouns, *owned, schedules, diagnosis, webhooks, policies, previews, modules, extensions, health):
        app.include_router(router)
    return app
