"""`pulsar schedule`: what it asks, what it prints, and its exit codes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.deployments.invoking import pulsar
from tests.deployments.rest_stand_in import StandIn, scan

pytestmark = pytest.mark.usefixtures("hurried")

ID = "5aa0fc9a-44e3-43ac-9c34-e0f703384f8e"
PATH = f"/api/schedules/{ID}/"


def _schedule(**more: Any) -> dict[str, Any]:
    said = {"id": ID, "target": "example.com", "policy": "quick", "frequency": "DAILY", "at": "03:00"}
    state = {"timezone": "Europe/Berlin", "state": "active", "next_runs": ["2027-03-01T02:00:00Z"], "skipped": 0}
    return said | state | more


def _asked(server: StandIn) -> list[tuple[str, str, Any]]:
    return [(method, path, body) for method, path, _, body in server.asked if "/schedules/" in path]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--daily", "--at", "03:00"], {"frequency": "DAILY", "at": "03:00"}),
        (["--weekly"], {"frequency": "WEEKLY"}),
        (["--monthly", "--paused"], {"frequency": "MONTHLY", "active": False}),
        (["--cron", "0 3 * * 1", "--timezone", "Europe/Berlin"], {"cron": "0 3 * * 1", "timezone": "Europe/Berlin"}),
        (["--rrule", "FREQ=DAILY"], {"rrule": "FREQ=DAILY"}),
        (["--weekly", "--notify", "smtp-mail/me"], {"frequency": "WEEKLY", "notify": {"to": ["smtp-mail/me"]}}),
        (["--every", "6h", "--overlap", "queue"], {"interval": 21600, "overlap": "queue"}),
    ],
)  # fmt: skip
def test_a_schedule_is_asked_for_and_its_id_is_printed(server: StandIn, words: list[str], said: dict[str, Any]) -> None:
    server.answers["POST", "/api/schedules/"] = (201, _schedule())
    result = pulsar("schedule", "add", "example.com", "--policy", "quick", *words)
    assert (result.exit_code, result.stdout) == (0, f"{ID}\n")
    assert "It comes due first at 2027-03-01" in result.stderr
    body = {
        "target": "example.com",
        "policy": "quick",
        "timezone": "UTC",
        "overlap": "skip",
        "comment": "",
        "active": True,
    }
    assert _asked(server) == [("POST", "/api/schedules/", body | said)]  # fmt: skip


@pytest.mark.parametrize(
    "words", [[], ["--daily", "--cron", "0 3 * * *"], ["--daily", "--weekly"], ["--every", "soon"]]
)
def test_how_often_is_said_in_one_way(server: StandIn, words: list[str]) -> None:
    assert pulsar("schedule", "add", "example.com", *words).exit_code == 2
    assert _asked(server) == []


def test_schedules_are_listed_with_what_came_of_them(server: StandIn) -> None:
    last = {"id": "one", "status": "FAILURE", "created_at": "2027-02-28T02:00:00Z"}
    server.rows["schedules"] = [
        _schedule(last_scan=last),
        _schedule(target=None, asset="an-asset", frequency=None, interval=3600, state="deleted", next_runs=[]),
    ]
    first, second = pulsar("schedule", "list").stdout.splitlines()[-2:]
    assert all(word in first for word in (ID, "active", "example.com", "daily 03:00 Europe/Berlin", "FAILURE"))
    assert all(word in second for word in ("deleted", "asset an-asset", "every 3600 s"))
    assert len(json.loads(pulsar("schedule", "list", "--json").stdout)) == 2


def test_one_that_is_kept_in_prefect_says_so_and_where(server: StandIn) -> None:
    kept = {"origin": "prefect", "deployment": "dispatch_scan/pulsar", "slug": "nightly", "overlap": None}
    server.rows["schedules"] = [_schedule(frequency=None, cron="0 3 * * *", **kept)]
    listed = pulsar("schedule", "list")
    assert "Prefect: dispatch_scan/pulsar, nightly" in listed.stdout
    assert "prefect.yaml" in listed.stderr
    server.answers["GET", PATH] = (200, _schedule(target=None, **kept))
    shown = pulsar("schedule", "show", ID)
    assert (shown.exit_code, "Prefect: dispatch_scan/pulsar, nightly" in shown.stdout) == (0, True)
    assert "prefect deploy --all" in shown.stderr
    assert [path for _, path, _ in _asked(server) if path.endswith("/runs/")] == []


def test_one_is_shown_with_its_last_times(server: StandIn) -> None:
    server.answers["GET", PATH] = (200, _schedule(state="paused", next_runs=[], skipped=1, prefect_away=True))
    runs = [{"due_at": None, "came_at": "2027-02-28T02:00:00Z", "outcome": "skipped", "reason": "the last goes on"}]
    server.answers["GET", f"{PATH}runs/"] = (200, {"count": 1, "next": None, "results": runs})
    result = pulsar("schedule", "show", ID)
    assert all(word in result.stdout for word in ("example.com", "by hand", "skipped", "the last goes on"))
    assert "has it go on" in result.stderr
    assert "Prefect does not answer" in result.stderr


def test_one_is_paused_resumed_run_and_removed(server: StandIn) -> None:
    server.answers["POST", f"{PATH}pause/"] = (200, _schedule(state="paused", next_runs=[]))
    server.answers["POST", f"{PATH}resume/"] = (200, _schedule())
    server.answers["POST", f"{PATH}run/"] = (201, scan("PENDING", id="the-scan"))
    assert pulsar("schedule", "pause", ID).stdout == "paused\n"
    assert pulsar("schedule", "resume", ID).stdout.startswith("active; it comes due next at 2027-03-01")
    assert pulsar("schedule", "run", ID).stdout == "the-scan\n"
    assert pulsar("schedule", "rm", ID).exit_code == 0
    assert [(method, path) for method, path, _ in _asked(server)] == [
        *(("POST", f"{PATH}{verb}/") for verb in ("pause", "resume", "run")),
        ("DELETE", PATH),
    ]


def test_what_is_refused_is_exit_code_2(server: StandIn) -> None:
    server.answers["POST", f"{PATH}run/"] = (409, {"error": "conflict", "detail": "its last run has not ended"})
    result = pulsar("schedule", "run", ID)
    assert (result.exit_code, "has not ended" in result.stderr) == (2, True)
    assert pulsar("schedule", "show", "no/id").exit_code == 2
