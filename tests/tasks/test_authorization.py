"""Who may be looked at actively, asked at the request and before each unit; and what is excluded in mid-scan.

Every address is loopback, and the modules are stand-ins that send nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import State
from sqlalchemy import select
from sqlalchemy.orm import Session

from footprint.admission import NewScan, admit
from footprint.asset_scope import AssetScope
from footprint.errors import NotAuthorized
from footprint.policy import PRESETS, ScanPolicy
from footprint.records import Coverage, Host, Outcome, Record, Service
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.assets import add_asset, scope_for, set_scope
from footprint.store.authorizations import Authorization, add_authorization, delete_authorization
from footprint.store.left_out import left_out_page
from footprint.store.scans import Begun, begin, insert_scan
from footprint.store.tables import ModuleRun, Scan
from footprint.store.units import Unit, plan_unit
from tasks import run_scan as running
from tasks import unit as units
from tasks.authorization import active_modules, in_force, require_authorization
from tasks.catalogue import tool_named
from tasks.installation import Installation
from tasks.tool import Asking, Batch
from tasks.unit import UNAUTHORIZED

ROOT = "127.0.88.0/24"
HOUR = timedelta(hours=1)
HOSTS = (Host("127.0.88.1"), Host("127.0.88.2"))
ACTIVE = ScanPolicy(name="own", modules={"dns": {}, "nmap": {}, "cve_match": {}})
ALLOWED = ("127.0.0.0/8",)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An installation that asks for authorisations."""
    return Settings(home=tmp_path, scope_allow=ALLOWED, require_authorization=True)  # type: ignore[arg-type]


@pytest.fixture
def asset(store: Store) -> UUID:
    with store.write() as session:
        return add_asset(session, "Loopback", AssetScope((ROOT,)))


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, store: Store, settings: Settings) -> list[Record]:
    """What a stand-in for nmap is given; it says that all of it answered."""
    seen: list[Record] = []

    def probe(batch: Batch, options: object, asking: Asking) -> Iterator[Coverage]:
        seen.extend(batch)
        for record in batch:
            yield Coverage(record.address, Outcome.ANSWERED)  # type: ignore[union-attr]

    stand_in = replace(tool_named("nmap"), probe=probe, command=None, parse=None, binary=None, risk_with=None)
    monkeypatch.setattr(units, "tool_named", lambda name: replace(stand_in, name=name, risk=tool_named(name).risk))
    monkeypatch.setattr(running, "installation", cache(lambda: Installation(settings, store)))
    monkeypatch.setattr(running, "get_run_logger", lambda: logging.getLogger("tests"))
    return seen


def _grant(session: Session, asset: UUID, covers: str | None = None, until: timedelta = HOUR) -> int:
    present = datetime.now(UTC)
    said = Authorization(covers, present - 2 * HOUR, present + until, "Jo Doe")
    return add_authorization(session, asset, said).id


def _wanted(session: Session, settings: Settings, policy: ScanPolicy = ACTIVE, target: str = ROOT) -> NewScan:
    found = partial(scope_for, session)
    return admit(settings, target=target, policy=policy, comment="", origin="api", scoped=found)


def _begun(store: Store, settings: Settings) -> Begun:
    with store.write() as session:
        return begin(session, insert_scan(session, _wanted(session, settings))[0].id, uuid4())


def _carry_out(
    store: Store, scan: Begun, batch: int, *records: Record, module: str = "nmap"
) -> tuple[State, ModuleRun]:
    with store.write() as session:
        plan_unit(session, scan.id, scan.attempt, Unit(module, batch, 0, records))
    state = running.run_scan.fn(scan, module, batch)
    with store.read() as session:
        row = session.scalars(select(ModuleRun).where(ModuleRun.module == module, ModuleRun.batch == batch)).one()
    return state, row


@pytest.mark.parametrize(
    ("modules", "active"),
    [
        ({"dns": {}, "ct": {}, "cve_match": {}}, ()),
        ({"dns": {}, "nmap": {}, "tls": {}}, ("nmap", "tls")),
        ({"amass": {"mode": "passive"}}, ()),
        ({"amass": {"mode": "active"}}, ("amass",)),
    ],
)
def test_the_modules_that_send_something_to_the_target_are_active(
    modules: dict[str, dict[str, str]], active: tuple[str, ...]
) -> None:
    assert active_modules(ScanPolicy(name="own", modules=modules), Settings()) == active


def test_the_shipped_passive_policy_is_passive_and_the_others_are_not() -> None:
    passive = {name for name, policy in PRESETS.items() if not active_modules(policy, Settings())}
    assert passive == {"passive"}


def test_an_active_scan_needs_an_authorisation_and_a_passive_one_does_not(
    store: Store, asset: UUID, settings: Settings
) -> None:
    with store.write() as session:
        wanted = _wanted(session, settings)
        with pytest.raises(NotAuthorized, match=r"active: nmap \(") as refused:
            require_authorization(session, settings, wanted)
        assert "authorizations/" in refused.value.hint
        require_authorization(session, settings, _wanted(session, settings, PRESETS["passive"]))
        require_authorization(session, Settings(), wanted)
        _grant(session, asset, until=-HOUR)
        _grant(session, asset, covers="127.0.88.0/25")
        with pytest.raises(NotAuthorized):
            require_authorization(session, settings, wanted)
        require_authorization(session, settings, _wanted(session, settings, target="127.0.88.7"))
        _grant(session, asset)
        require_authorization(session, settings, wanted)


def test_a_target_that_belongs_to_no_asset_is_not_authorised(store: Store, asset: UUID, settings: Settings) -> None:
    with store.write() as session:
        _grant(session, asset)
        with pytest.raises(NotAuthorized):
            require_authorization(session, settings, _wanted(session, settings, target="127.0.99.1"))


def test_what_expires_in_mid_scan_stops_active_units_and_no_passive_ones(
    store: Store, asset: UUID, settings: Settings, given: list[Record]
) -> None:
    with store.write() as session:
        number = _grant(session, asset)
    scan = _begun(store, settings)
    assert _carry_out(store, scan, 1, *HOSTS)[1].status == "done"
    assert given == [*HOSTS]
    with store.write() as session:
        delete_authorization(session, asset, number)
        _grant(session, asset, until=-HOUR)
    state, row = _carry_out(store, scan, 2, *HOSTS)
    assert (row.status, row.error_code, row.error) == ("skipped", "not_authorized", f"nmap: {UNAUTHORIZED}")
    assert (row.coverage, state.is_completed(), given) == ({"refused": 2}, True, [*HOSTS])
    assert _carry_out(store, scan, 3, *HOSTS, module="cve_match")[1].status == "done"
    assert given == [*HOSTS, *HOSTS]
    with store.read() as session:
        found, _ = left_out_page(session, scan.id, 0, 10)
    assert [(one.subject, one.rule, one.module) for one in found] == [
        (host.address, UNAUTHORIZED, "nmap") for host in HOSTS
    ]


def test_a_later_attempt_asks_again_what_was_not_authorised(
    store: Store, asset: UUID, settings: Settings, given: list[Record]
) -> None:
    scan = _begun(store, settings)
    assert _carry_out(store, scan, 1, *HOSTS)[1].status == "skipped"
    assert _carry_out(store, scan, 1, *HOSTS, module="cve_match")[1].status == "done"
    with store.write() as session:
        begin(session, scan.id, session.scalars(select(Scan.task_id)).one() or uuid4())
        assert session.scalars(select(ModuleRun.module)).all() == ["cve_match"]


def test_what_no_authorisation_covers_is_taken_out_of_a_unit(
    store: Store, asset: UUID, settings: Settings, given: list[Record]
) -> None:
    with store.write() as session:
        _grant(session, asset, covers="127.0.88.1")
    _, row = _carry_out(store, _begun(store, settings), 1, *HOSTS)
    assert (given, row.status, row.coverage) == ([HOSTS[0]], "done", {"answered": 1, "refused": 1})


def test_where_no_authorisation_is_asked_for_none_is_looked_up(store: Store, asset: UUID, settings: Settings) -> None:
    scan = _begun(store, settings)
    with store.read() as session:
        assert in_force(session, scan, Settings()).permitted is None
        assert in_force(session, scan, settings).permitted is not None


def test_what_is_excluded_in_mid_scan_is_not_touched_any_more_and_what_is_included_has_to_wait(
    store: Store, asset: UUID, settings: Settings, given: list[Record]
) -> None:
    with store.write() as session:
        _grant(session, asset)
    scan = _begun(store, settings)
    with store.write() as session:
        set_scope(session, asset, AssetScope(include=("127.0.99.0/24",), exclude=("127.0.88.2",)))
    _, row = _carry_out(store, scan, 1, *HOSTS, Host("127.0.99.1"), Service("127.0.88.2", 80))
    assert (given, row.coverage) == ([HOSTS[0]], {"answered": 1, "refused": 3})
    with store.read() as session:
        rules = {one.subject: one.rule for one in left_out_page(session, scan.id, 0, 10)[0]}
    assert rules == {
        "127.0.88.2": "on the exclusion list of its asset",
        "127.0.88.2:80/tcp": "on the exclusion list of its asset",
        "127.0.99.1": "outside of the scope",
    }


def test_an_exclusion_of_a_scans_own_time_stays_with_it(
    store: Store, asset: UUID, settings: Settings, given: list[Record]
) -> None:
    with store.write() as session:
        _grant(session, asset)
        set_scope(session, asset, AssetScope(exclude=("127.0.88.2",)))
    scan = _begun(store, settings)
    with store.write() as session:
        set_scope(session, asset, AssetScope())
    _carry_out(store, scan, 1, *HOSTS)
    assert given == [HOSTS[0]]
