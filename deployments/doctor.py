"""`pulsar doctor`: everything a scan needs, looked at from this machine, whether a platform runs or not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import make_url

from deployments.answers import Part
from deployments.client import Api
from deployments.home import find_running, prefect_environment, token_of
from footprint import doctor
from footprint.checkup import check_home, check_store, silence
from footprint.doctor import Line
from footprint.errors import InstallationError, PulsarError, SandboxMissing
from footprint.platform_facts import PrefectSeen
from footprint.policy import DEFAULT_POLICY, PRESETS
from footprint.settings import Settings
from footprint.store.engine import Store, connect


def examine(settings: Settings) -> list[Part]:
    """Look at every part. With `PULSAR_API_URL`, that platform is asked for those that are with it."""
    if settings.api_url:
        return _elsewhere(settings, settings.api_url)
    lines = [_api(settings)]
    prefect, seen = _prefect(settings)
    lines += prefect
    store = _store(settings)
    try:
        stored, known = check_store(store, by_writing=True) if store else (_no_store(), None)
        lines += [*stored, *check_home(settings, known, seen), *_tools(settings, store if known else None)]
    finally:
        if store:
            store.close()
    return [_part(line) for line in lines]


def _part(line: Line) -> Part:
    return Part(name=line.name, status=line.health.value, detail=line.detail, remedy=line.remedy)


def _elsewhere(settings: Settings, url: str) -> list[Part]:
    try:
        with Api(url, token_of(settings)) as api:
            return list(api.health().parts)
    except PulsarError as error:
        return [_part(doctor.fail("api", error.detail, error.hint))]


def _api(settings: Settings) -> Line:
    try:
        running = find_running(settings)
        if running is None:
            return doctor.fail("api", "no platform is running for this home", "start one: `pulsar up`")
        with Api(running.api, token_of(settings)) as api:
            if not api.is_there():
                return doctor.fail("api", f"nothing answers at {running.api}", "stop the platform and `pulsar up`")
            api.scans(None, 1)
            return doctor.ok("api", f"answers at {running.api}, and takes this home's token")
    except PulsarError as error:
        return doctor.fail("api", error.detail, error.hint)


def _prefect(settings: Settings) -> tuple[list[Line], PrefectSeen | None]:
    try:
        os.environ.update(prefect_environment(settings))
    except InstallationError as error:
        return list(doctor.prefect_away(error.detail, refused=False)), None
    # Prefect reads its environment when it is imported.
    from api.prefect import VERSION, PrefectGateway, PrefectHealth

    async def ask() -> PrefectHealth:
        async with PrefectGateway() as gateway:
            return await gateway.health()

    health = asyncio.run(ask())
    if health.seen is None:
        return list(doctor.prefect_away(health.detail, refused=health.refused)), None
    return list(doctor.judge_prefect(health.seen, VERSION, datetime.now(UTC), silence(settings))), health.seen


def _store(settings: Settings) -> Store | None:
    """The store, or None where it is a file that is not there: to look at it would make an empty one."""
    url = make_url(settings.store_url)
    if url.get_backend_name() == "sqlite" and not settings.database_url and not (settings.home / "pulsar.db").exists():
        return None
    return connect(settings.store_url)


def _no_store() -> list[Line]:
    missing = doctor.fail("store", "this home has none yet", "`pulsar up` makes it at its first start")
    return [missing, *doctor.unknown("migrations")]


def _tools(settings: Settings, store: Store | None) -> Iterator[Line]:
    from tasks.inspection import inspect_modules, powers

    lacking = {found.name: found for found in inspect_modules(settings, store) if found.state in ("missing", "too_old")}
    # Feeds and the sandbox have lines of their own.
    lacking = {name: found for name, found in lacking.items() if name not in ("cve_match", "extension")}
    remedies = "; ".join(found.remedy for found in lacking.values())
    if not lacking:
        yield doctor.ok("tools", "all are here")
    elif needed := sorted(set(lacking) & set(PRESETS[DEFAULT_POLICY].required)):
        yield doctor.fail("tools", f"missing, and needed by {DEFAULT_POLICY}: {', '.join(needed)}", remedies)
    else:
        yield doctor.warn("tools", f"missing, too old or not to be run here: {', '.join(lacking)}", remedies)
    granted = powers(settings.work_dir)
    if granted.raw_sockets:
        yield doctor.ok("privileges", "raw sockets are to be had")
    else:
        yield doctor.warn("privileges", f"no raw sockets: {granted.reason}")
    yield _sandbox(settings)


def _sandbox(settings: Settings) -> Line:
    from tasks.extension import reduced
    from tasks.extension_reach import REMEDY
    from tasks.sandbox import check_sandbox

    try:
        check_sandbox(settings.home, settings.work_dir)
    except SandboxMissing as error:
        return doctor.warn("sandbox", error.detail, error.hint)
    if unheld := reduced(settings):
        return doctor.warn("sandbox", unheld, REMEDY)
    return doctor.ok("sandbox", "extensions are held")
