"""Notifications in the store: written with the scan's end, claimed once, tried again, never lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from footprint.admission import NewScan
from footprint.delivery_plan import BURST, MOST_TRIES
from footprint.drift import Change
from footprint.errors import Conflict, NotFound
from footprint.notification import EventType
from footprint.notify_rules import NotifyOn, NotifyRules
from footprint.records import DomainName, Outcome, Service
from footprint.states import Status
from footprint.store import Store
from footprint.store.change_tables import ChangeRow
from footprint.store.changes import drift_at_end
from footprint.store.deliveries import (
    Parcel,
    claim,
    deliveries_of,
    delivery_troubles,
    note_delivered,
    note_failed,
    receivers_due,
)
from footprint.store.explaining import scan_seen
from footprint.store.notification_tables import NotificationRow
from footprint.store.outbox import decide, decide_late, undecided
from footprint.store.scans import Begun
from footprint.store.tables import Scan, now
from footprint.store.views import scan_by_id
from footprint.store.webhooks import add_webhook, delete_webhook, webhook_named, webhooks_page
from footprint.verdict import UnitStatus
from tests.footprint.test_differences import ADDRESS, HERE, LEAK, NAMED, POLICY, PROBED, Asked, asked, judge, scanned

TO = ("signed-webhook/siem", "slack-webhook/oncall")
FOUND = asked("nmap", HERE, HERE, Service(ADDRESS, 443))
MORE = asked("nmap", HERE, HERE, Service(ADDRESS, 443), Service(ADDRESS, 444))


def telling(**on: Any) -> NewScan:
    rules = NotifyRules(to=TO, on=NotifyOn(**on))
    return NewScan(DomainName("example.test"), POLICY.model_copy(update={"notify": rules}), "", "api")


def ended(store: Store, *units: Asked, new: NewScan | None = None, **more: Any) -> Begun:
    """A scan that has ended as its flow ends it."""
    scan = scanned(store, *units, new=new or telling(), **more)
    with store.write() as session:
        decide(session, scan.id, drift_at_end(session, scan.id))
    return scan


def states(store: Store, scan: Begun) -> list[str]:
    with store.read() as session:
        return [one.status for one in deliveries_of(session, scan.id)]


def take(store: Store, receiver: str = TO[0]) -> Parcel | None:
    with store.write() as session:
        return claim(session, receiver)


def changed(store: Store, change: Callable[[Session], Any]) -> None:
    with store.write() as session:
        change(session)


def test_nothing_is_told_where_nobody_wants_to_hear(store: Store) -> None:
    quiet = NewScan(DomainName("example.test"), POLICY, "", "api")
    assert states(store, ended(store, NAMED, FOUND, new=quiet)) == []
    assert states(store, ended(store, new=telling(), verdict=Status.REVOKED)) == []


def test_changes_are_told_to_each_receiver_once(store: Store) -> None:
    assert states(store, ended(store, NAMED, FOUND)) == ["not_needed"] * 2
    scan = ended(store, NAMED, MORE)
    assert states(store, scan) == ["pending"] * 2
    with store.read() as session:
        assert sorted(receivers_due(session)) == sorted(TO)
    parcel = take(store)
    assert parcel
    ((number, said),) = parcel.events
    assert (said.type, said.changed, said.lines) == (
        EventType.CHANGED,
        {Change.NEW: 1},
        (f"+ new service {ADDRESS}:444/tcp",),
    )
    assert take(store) is None, "it is claimed"
    changed(store, lambda session: note_delivered(session, parcel))
    with store.read() as session:
        first, second = deliveries_of(session, scan.id)
        assert receivers_due(session) == [TO[1]]
    assert (first.status, first.event_id, first.tries) == ("delivered", number, 1)
    assert second.event_id not in (number, None)


def test_a_failure_is_told_with_its_reason(store: Store) -> None:
    scan = ended(store, NAMED, verdict=Status.FAILURE)
    parcel = take(store)
    assert parcel
    assert (parcel.events[0][1].type, parcel.events[0][1].scan) == (EventType.FAILED, scan.id)
    assert (
        states(store, ended(store, NAMED, FOUND, new=telling(failure=False), verdict=Status.FAILURE))
        == ["not_needed"] * 2
    )


@pytest.mark.parametrize(
    ("outcome", "status", "kind"),
    [
        (Outcome.TIMED_OUT, "pending", EventType.FINISHED),
        (Outcome.REFUSED, "pending", EventType.FINISHED),
        (Outcome.SILENT, "not_needed", None),
    ],
)
def test_that_nothing_could_be_looked_at_is_told(
    store: Store, outcome: Outcome, status: str, kind: EventType | None
) -> None:
    new = telling()
    new = replace(new, policy=new.policy.model_copy(update={"required": ("nmap",)}))
    scan = ended(store, NAMED, asked("nmap", HERE, outcome=outcome), new=new, status=UnitStatus.PARTIAL)
    with store.read() as session:
        assert {(one.status, one.type) for one in deliveries_of(session, scan.id)} == {(status, kind)}


def test_a_false_positive_that_is_back_is_not_told(store: Store) -> None:
    around = (NAMED, FOUND, asked("nmap", Service(ADDRESS, 443), Service(ADDRESS, 443)))
    first = ended(store, *around, PROBED)
    judge(store, first, "false_positive")
    ended(store, *around, asked("http_probe", DomainName(LEAK.subject)))
    assert states(store, ended(store, *around, PROBED)) == ["not_needed"] * 2


def test_what_a_flow_that_died_did_not_come_to_is_done_later(store: Store) -> None:
    scanned(store, NAMED, FOUND, new=telling())
    scan = scanned(store, NAMED, MORE, new=telling())
    changed(store, lambda session: session.query(ChangeRow).delete())
    assert states(store, scan) == ["undecided"] * 2
    with store.read() as session:
        assert undecided(session) == [], "its flow may still be at it"
    long_ago = update(NotificationRow).where(NotificationRow.scan_id == scan.id)
    changed(store, lambda session: session.execute(long_ago.values(created_at=now() - timedelta(minutes=2))))
    with store.read() as session:
        assert undecided(session) == [scan.id]
    for _ in range(2):
        changed(store, lambda session: decide_late(session, scan.id))
    assert states(store, scan) == ["pending"] * 2
    with store.read() as session:
        assert [row.subject for row in session.scalars(select(ChangeRow))] == [f"{ADDRESS}:444/tcp"]


def test_a_claim_whose_owner_died_is_free_again_with_the_same_event(store: Store) -> None:
    ended(store, NAMED, verdict=Status.FAILURE)
    first = take(store)
    changed(store, lambda session: session.execute(update(NotificationRow).values(claimed_until=now())))
    again = take(store)
    assert first
    assert again
    assert again.events == first.events


def test_a_failed_try_is_repeated_later_and_at_last_given_up(store: Store) -> None:
    scan = ended(store, NAMED, verdict=Status.FAILURE)
    parcel = take(store)
    assert parcel
    changed(store, lambda session: note_failed(session, parcel, "down\x1b[31m"))
    assert take(store) is None
    with store.read() as session:
        tried, other = deliveries_of(session, scan.id)
        assert delivery_troubles(session) == ()
        seen = scan_seen(session, scan_by_id(session, scan.id)).tellings
    assert (tried.status, tried.tries, tried.last_error, other.tries) == ("pending", 1, "down[31m", 0)
    assert [(one.receiver, one.status, one.error) for one in seen] == [
        (TO[0], "pending", "down[31m"),
        (TO[1], "pending", ""),
    ]
    changed(store, lambda session: session.execute(update(NotificationRow).values(tries=MOST_TRIES - 1)))
    with store.write() as session:
        assert note_failed(session, parcel, "down") == list(parcel.ids)
    with store.read() as session:
        assert deliveries_of(session, scan.id)[0].status == "given_up"
        assert [str(one) for one in delivery_troubles(session)] == [
            f"{TO[0]}: 1 given up: down",
            f"{TO[1]}: 1 waiting: ",
        ]


def test_many_go_as_one_digest_which_stays_the_same_when_it_is_repeated(store: Store) -> None:
    for _ in range(BURST + 1):
        ended(store, NAMED, verdict=Status.FAILURE)
    first = take(store)
    assert first
    assert (len(first.events), bool(first.digest_id)) == (BURST + 1, True)
    changed(store, lambda session: note_failed(session, first, "down"))
    ended(store, NAMED, verdict=Status.FAILURE)
    changed(store, lambda session: session.execute(update(NotificationRow).values(next_try_at=now())))
    again = take(store)
    assert again
    assert (again.id, again.ids) == (first.id, first.ids)


def test_a_receiver_that_was_told_much_waits_for_the_rest(store: Store) -> None:
    for _ in range(BURST):
        ended(store, NAMED, verdict=Status.FAILURE)
        parcel = take(store)
        assert parcel
        changed(store, lambda session, parcel=parcel: note_delivered(session, parcel))  # type: ignore[misc]
    scan = ended(store, NAMED, verdict=Status.FAILURE)
    assert take(store) is None
    with store.read() as session:
        held = deliveries_of(session, scan.id)[0]
        assert receivers_due(session) == [TO[1]]
    assert (held.status, held.tries) == ("pending", 0)
    assert held.next_try_at
    assert held.next_try_at > now() + timedelta(minutes=9)


def test_notifications_go_with_their_scan(store: Store) -> None:
    scan = ended(store, NAMED, verdict=Status.FAILURE)
    changed(store, lambda session: session.delete(session.get_one(Scan, scan.id)))
    assert states(store, scan) == []


def test_webhooks_are_kept_by_name_and_listed_without_their_secrets(store: Store) -> None:
    with store.write() as session:
        add_webhook(session, "siem", "https://hooks.example.test/", "s" * 16)
        with pytest.raises(Conflict):
            add_webhook(session, "siem", "https://other.example.test/", "s" * 16)
    with store.read() as session:
        (shown,), count = webhooks_page(session, 0, 10)
        assert (shown.name, shown.url, count, "s" * 16 in repr(shown)) == (
            "siem",
            "https://hooks.example.test/",
            1,
            False,
        )
        assert webhook_named(session, "siem").secret == "s" * 16
    changed(store, lambda session: delete_webhook(session, "siem"))
    for gone in (webhook_named, delete_webhook):
        with pytest.raises(NotFound), store.write() as session:
            gone(session, "siem")
