"""A scan from its beginning to its verdict under what its asset says: refused, frozen, and written down."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.states import Completed
from sqlalchemy import func, select

from flows import beginning, conduct
from flows.beginning import begin_scan
from flows.conduct import Conductor
from flows.frontier import TOO_FAR
from footprint.asset_scope import AssetScope
from footprint.errors import NotAuthorized, TargetRefused
from footprint.records import DomainName, Host, Record, Service
from footprint.scope import EXCLUDED, EXCLUDED_HERE, OUTSIDE
from footprint.settings import Settings
from footprint.store import migrate, open_store
from footprint.store.assets import add_asset, set_scope
from footprint.store.left_out import left_out_page
from footprint.store.scans import Begun
from footprint.store.tables import Scan
from footprint.store.units import Settlement, begin_unit, finished_units, settle_unit
from footprint.verdict import UnitStatus
from tasks.installation import Installation
from tests.flows.test_conduct import Future

ROOT = "127.0.88.0/29"
SAID = AssetScope((ROOT,), ("127.0.99.0/24",), ("127.0.88.2", "127.0.99.9"))
FOUND: tuple[Record, ...] = (
    Host("127.0.88.1"),
    Host("127.0.88.2"),
    Host("127.0.88.3"),
    Host("127.0.99.1"),
    Host("127.0.99.9"),
    Host("127.0.77.1"),
    Service("127.0.88.2", 80),
    DomainName("elsewhere.example"),
)


class Task:
    """Stands in for `run_scan`, and sends nothing: a network gives all of `FOUND`, and nothing else gives anything."""

    def __init__(self, here: Installation) -> None:
        self._here = here

    def submit(self, scan: Begun, module: str, batch: int) -> Future:
        """Carry the unit out at once."""
        with self._here.store.write() as session:
            unit_id, unit = begin_unit(session, scan.id, scan.attempt, module, batch)
            found = FOUND if unit.depth == 0 else ()
            settle_unit(session, scan.id, scan.attempt, unit_id, Settlement(UnitStatus.DONE, records=found))
        return Future(Completed())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """An installation with one asset, and a Prefect that takes no artifacts and no logs."""
    settings = Settings(home=tmp_path, scope_allow=("127.0.0.0/8",), scope_exclude=("127.0.88.3",))  # type: ignore[arg-type]
    migrate(settings.store_url)
    store = open_store(settings.store_url)
    made = Installation(settings, store)
    with store.write() as session:
        add_asset(session, "Loopback", SAID)
    for room in (beginning, conduct):
        monkeypatch.setattr(room, "installation", cache(lambda: made))
    monkeypatch.setattr(conduct, "get_run_logger", lambda: logging.getLogger("tests"))
    monkeypatch.setattr(conduct, "publish_report", lambda *of: None)
    monkeypatch.setattr(conduct, "run_scan", Task(made))
    yield made
    store.close()


def _begun(target: str = ROOT) -> Begun:
    return begin_scan(uuid4(), None, target=target, policy="network_sweep", comment="")


def _rules(here: Installation, scan: Begun) -> dict[str, str]:
    with here.store.read() as session:
        return {one.subject: one.rule for one in left_out_page(session, scan.id, 0, 100)[0]}


def _looked_at(here: Installation, scan: Begun) -> set[Record]:
    with here.store.read() as session:
        return {record for done in finished_units(session, scan.id) for record in done.unit.records}


def test_a_scan_keeps_to_its_scope_and_all_that_it_left_out_is_in_its_record(here: Installation) -> None:
    scan = _begun()
    with Conductor(scan) as conductor:
        conductor.play()
        conductor.conclude()
    assert {record for record in _looked_at(here, scan) if isinstance(record, Host)} == {FOUND[0], FOUND[3]}
    assert _rules(here, scan) == {
        "127.0.88.2": EXCLUDED_HERE,
        "127.0.88.3": EXCLUDED,
        "127.0.99.9": EXCLUDED_HERE,
        "127.0.77.1": OUTSIDE,
        "127.0.88.2:80/tcp": EXCLUDED_HERE,
        "elsewhere.example": OUTSIDE,
    }


def test_what_an_asset_includes_while_a_scan_runs_is_not_the_scans(here: Installation) -> None:
    scan = _begun()
    with here.store.write() as session:
        set_scope(session, session.scalars(select(Scan.asset_id)).one(), AssetScope(include=("127.0.77.0/24",)))
    with Conductor(scan) as conductor:
        conductor.play()
        conductor.conclude()
    assert _rules(here, scan)["127.0.77.1"] == OUTSIDE
    assert _rules(here, scan)["127.0.99.9"] == EXCLUDED_HERE


def test_what_is_excluded_of_a_network_is_in_the_record_though_nobody_comes_upon_it(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "FOUND", ())
    scan = _begun()
    with here.store.write() as session:
        excluded = AssetScope(exclude=("127.0.88.4/31", "127.0.99.8", "other.example"))
        set_scope(session, session.scalars(select(Scan.asset_id)).one(), excluded)
    with Conductor(scan) as conductor:
        conductor.play()
        conductor.conclude()
    assert _rules(here, scan) == {
        "127.0.88.2": EXCLUDED_HERE,
        "127.0.88.3": EXCLUDED,
        "127.0.88.4/31": EXCLUDED_HERE,
    }


def _break_off(scan: Begun) -> None:
    with Conductor(scan) as conductor:
        conductor.play()
        raise ZeroDivisionError


def test_a_scan_that_breaks_off_says_what_it_left_out_until_then(here: Installation) -> None:
    scan = _begun()
    with pytest.raises(ZeroDivisionError):
        _break_off(scan)
    assert _rules(here, scan)["127.0.77.1"] == OUTSIDE


def test_what_is_too_far_away_is_in_the_record_too(here: Installation) -> None:
    scan = _begun()
    near = replace(scan, policy=scan.policy.model_copy(update={"depth": 0}))
    with Conductor(near) as conductor:
        conductor.play()
        conductor.conclude()
    assert _rules(here, scan)["127.0.88.1"] == TOO_FAR


def test_a_run_of_prefects_own_is_refused_what_its_asset_excludes(here: Installation) -> None:
    with pytest.raises(TargetRefused, match="of its asset"):
        _begun("127.0.88.2")
    assert _scans(here) == 0


def test_a_run_of_prefects_own_needs_an_authorisation_where_the_installation_says_so(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = Installation(here.settings.model_copy(update={"require_authorization": True}), here.store)
    for room in (beginning, conduct):
        monkeypatch.setattr(room, "installation", cache(lambda: strict))
    with pytest.raises(NotAuthorized, match=r"active: .*\bnmap\b"):
        _begun()
    assert _scans(here) == 0
    begin_scan(uuid4(), None, target=ROOT, policy="passive", comment="")
    assert _scans(here) == 1


def _scans(here: Installation) -> int:
    with here.store.read() as session:
        return session.scalar(select(func.count()).select_from(Scan)) or 0
