"""What an extension that is tried by hand may reach: asked of the same scope as a scan of that target would be."""

from __future__ import annotations

import time
from threading import Event

from deployments.home import find_running, home_store
from deployments.processes import listening_ports
from footprint.admission import scope_of
from footprint.errors import NotAuthorized, TargetRefused
from footprint.policy import DEFAULT_POLICY, PRESETS
from footprint.records import DomainName, Host, Service
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.store.assets import scope_for
from footprint.store.authorizations import permitted
from footprint.store.surroundings import Surroundings
from tasks import dns
from tasks.extension import RATE
from tasks.extension_reach import Bounds, Reach
from tasks.tool import Asking, Pace
from tasks.tree import tree_of

LOOKUP_SECONDS = 20
PACE = Pace(2, LOOKUP_SECONDS, "top:100")


def reach_by_hand(record: DomainName | Host | Service, settings: Settings) -> tuple[Reach, Surroundings]:
    """What it may send to, and the addresses that a name leads to.

    Raises `TargetRefused` and `NotAuthorized` as a request for a scan does, and `TargetRefused` where nothing is left.
    """
    target = Host(record.address) if isinstance(record, Service) else record
    with home_store(settings) as store, store.read() as session:
        said, allowed = scope_for(session, target), permitted(session, target)
    scope = scope_of(settings, target, PRESETS[DEFAULT_POLICY], said)
    scope.admit(target)
    if settings.require_authorization and not allowed.holds(target):
        raise NotAuthorized(
            "no authorisation that is valid now covers the target, and the extension reaches it",
            hint="POST it to /api/assets/{id}/authorizations/",
        )
    around = _looked_up(record, settings, scope) if isinstance(record, DomainName) else Surroundings()
    needed = allowed if settings.require_authorization else None
    rate = min(RATE, settings.destination_rate or RATE)
    bounds = Bounds(scope, _own_ports(settings), knows_own_ports=True, rate=rate, permitted=needed)
    reach = bounds.reach_of(record, around)
    if reach is None:
        raise TargetRefused(
            "there is nothing of it that the extension may reach",
            hint="of this machine itself only services are reached, and none of Pulsar's own: 127.0.0.1:80/http",
        )
    return reach, around


def _looked_up(record: DomainName, settings: Settings, scope: Scope) -> Surroundings:
    asking = Asking(
        settings=settings,
        scope=scope,
        store=None,
        work_dir=settings.work_dir,
        scan_id=None,
        stopped=Event(),
        resolvers=settings.resolvers,
        deadline=time.monotonic() + LOOKUP_SECONDS,
        report=lambda percent: None,
    )
    options = dns.configure({"records": False, "wildcards": False}, PACE)
    hosts = tuple(found for found in dns.probe((record,), options, asking) if isinstance(found, Host))
    addresses = tuple(dict.fromkeys(host.address for host in hosts))
    return Surroundings((record.name,), addresses, (), hosts)


def _own_ports(settings: Settings) -> set[int]:
    """The ports of this home's platform, as it is set up and as it listens."""
    running = find_running(settings)
    listening = listening_ports(*tree_of(running.pid)) if running else ()
    return {settings.api_port, settings.prefect_port, *listening}
