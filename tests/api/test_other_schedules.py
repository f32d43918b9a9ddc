"""Schedules that people keep in Prefect, beside the store's own: listed as they are there, and changed there only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule, NoSchedule, RRuleSchedule

from api.follower import Follower
from api.prefect_schedules import other
from footprint.platform_facts import OtherSchedule
from footprint.store import Store
from footprint.store.schedule_tables import ScheduleRow
from footprint.timing import Timing

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)
NIGHTLY = CronSchedule(cron="0 3 * * *", timezone="Europe/Berlin")


def _seen(schedule: Any = NIGHTLY, *, slug: str | None = "nightly", paused: bool = False, **said: Any) -> OtherSchedule:
    """A schedule as it is read from Prefect's answer."""
    deployment = DeploymentResponse(id=uuid4(), name="git", flow_id=uuid4(), paused=paused, parameters={"policy": "p"})
    made = {"deployment_id": deployment.id, "schedule": schedule, "active": True, "slug": slug, "parameters": said}
    return other(DeploymentSchedule(created=BEGAN, updated=BEGAN, **made), deployment, "dispatch_scan/git")


@pytest.fixture
def there(client: TestClient, opened: Store) -> list[OtherSchedule]:
    """Three schedules of Prefect's, beside two of the store's."""
    found = [
        _seen(target="example.com", policy="quick", comment="by night"),
        _seen(RRuleSchedule(rrule="FREQ=WEEKLY;BYDAY=SA"), slug=None, target="example.net"),
        _seen(paused=True),
    ]
    with opened.write() as session:
        for number in range(2):
            row = ScheduleRow(target=f"127.0.0.{number}", policy_name="quick", timezone="UTC", said={})
            row.prefect_id, row.deployment_id, row.timing = uuid4(), uuid4(), Timing("cron", "0 3 * * *", "UTC").pack()
            session.add(row)
    follower: Follower = client.app.state.follower  # type: ignore[attr-defined]
    follower.other_schedules = tuple(found)
    return found


def _list(client: TestClient, **query: int) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/api/schedules/", params=query).json()
    return found


@pytest.mark.usefixtures("there")
def test_both_live_together_on_whatever_page(client: TestClient) -> None:
    assert [one["origin"] for one in _list(client)["results"]] == ["api", "api", "prefect", "prefect", "prefect"]
    pages = [_list(client, page=number, page_size=2) for number in (1, 2, 3)]
    assert {page["count"] for page in pages} == {5}
    listed = [one["id"] for page in pages for one in page["results"]]
    assert listed == [one["id"] for one in _list(client)["results"]]
    assert client.get("/api/schedules/", params={"page": 4, "page_size": 2}).status_code == 404


def test_one_says_what_it_scans_when_and_where_it_is_kept(client: TestClient, there: list[OtherSchedule]) -> None:
    nightly, weekly, untold = (client.get(f"/api/schedules/{each.prefect_id}/").json() for each in there)
    said = {"target": "example.com", "policy": "quick", "comment": "by night", "cron": "0 3 * * *"}
    kept = {"deployment": "dispatch_scan/git", "slug": "nightly", "timezone": "Europe/Berlin", "state": "active"}
    assert (said | kept).items() <= nightly.items()
    assert (len(nightly["next_runs"]), nightly["overlap"], nightly["prefect_away"]) == (5, None, True)
    assert (weekly["policy"], weekly["rrule"], len(weekly["next_runs"])) == ("p", "FREQ=WEEKLY;BYDAY=SA", 5)
    assert (untold["target"], untold["state"], untold["next_runs"]) == (None, "deployment_paused", [])


@pytest.mark.parametrize(("method", "verb"), [("PATCH", ""), ("DELETE", ""), ("POST", "run/"), ("GET", "runs/")])
def test_what_is_kept_in_prefect_is_changed_there_and_the_answer_says_where(
    client: TestClient, there: list[OtherSchedule], method: str, verb: str
) -> None:
    body = {"json": {"comment": "other"}} if method == "PATCH" else {}
    answer = client.request(method, f"/api/schedules/{there[0].prefect_id}/{verb}", **body)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
    assert "`nightly` of dispatch_scan/git" in answer.json()["hint"]
    assert "prefect.yaml" in answer.json()["hint"]
    unknown = client.request(method, f"/api/schedules/{uuid4()}/{verb}", **body)  # type: ignore[arg-type]
    assert unknown.status_code == 404


def test_it_is_not_switched_while_prefect_is_away(client: TestClient, there: list[OtherSchedule]) -> None:
    for verb in ("pause", "resume"):
        assert client.post(f"/api/schedules/{there[0].prefect_id}/{verb}/").status_code == 503


def test_parameters_may_be_anything_and_are_text_or_nothing() -> None:
    odd = _seen(NoSchedule(), slug="a\x1b[31m\nb", target={"__prefect_kind": "jinja"}, policy=["quick"], comment=1)
    assert (odd.target, odd.policy, odd.comment, odd.slug, odd.timing) == (None, "", "", "a[31m b", None)
    long = _seen(target="a\u202eb" * 1000)
    assert long.target is not None
    assert (len(long.target), long.target[:4]) == (255, "abab")
