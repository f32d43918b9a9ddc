"""`pulsar diff`: every page is fetched, and what is printed is what the API tells."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.deployments.invoking import lines_with, pulsar
from tests.deployments.rest_stand_in import SCAN_ID, StandIn

pytestmark = pytest.mark.usefixtures("hurried")
OLDER = "0190a7f4-5cc1-7a55-9a6e-000000000000"
PATH = f"/api/scans/{SCAN_ID}/diff/"


def difference(change: str, subject: str, **more: Any) -> dict[str, Any]:
    known = {"change": change, "kind": "service", "subject": subject, "title": None, "severity": None}
    return known | {"fields": [], "reason": ""} | more


def page(*results: dict[str, Any], following: str | None = None) -> dict[str, Any]:
    against = {"id": OLDER, "policy": "quick", "status": "SUCCESS", "created_at": "2026-03-01T10:00:00Z"}
    counts = {"services": {"new": 1, "back": 0, "changed": 1, "gone": 1, "not_looked_at": 1}}
    head = {"scan": SCAN_ID, "against": against, "counts": counts, "count": len(results)}
    return head | {"next": following, "previous": None, "results": list(results)}


VERSION = {"field": "version", "before": "1.18.0", "after": None}
CPES = {"field": "cpes", "before": [], "after": ["cpe:/a:x", "cpe:/a:y"]}
ALL = (
    difference("new", "127.0.0.1:25/tcp"),
    difference("changed", "127.0.0.1:80/tcp", fields=[VERSION, CPES]),
    difference("gone", "127.0.0.1:22/tcp\x1b[31m", reason="nmap at 127.0.0.1: 3 closed"),
    difference("not_looked_at", "127.0.0.2:22/tcp", reason="nmap failed at 127.0.0.2"),
)


def test_what_changed_is_printed_and_what_was_not_looked_at_is_counted(server: StandIn) -> None:
    server.answers["GET", PATH] = (200, page(*ALL))
    result = pulsar("diff", SCAN_ID)
    assert result.exit_code == 0
    assert "changed" in lines_with(result.stdout, "127.0.0.1:80/tcp")[0]
    assert "version 1.18.0 → nothing; cpes nothing → cpe:/a:x, cpe:/a:y" in result.stdout
    assert "nmap at 127.0.0.1: 3 closed" in lines_with(result.stdout, "gone")[0]
    assert "Not looked at this time: 1" in result.stdout
    assert "127.0.0.2:22/tcp" not in result.stdout
    assert OLDER in result.stderr
    assert "nmap failed at 127.0.0.2" in result.stderr
    assert "\x1b" not in result.stdout


def test_json_is_what_the_api_sent(server: StandIn) -> None:
    server.answers["GET", PATH] = (200, page(*ALL))
    sent = {name: value for name, value in page(*ALL).items() if name not in ("next", "previous")}
    assert json.loads(pulsar("diff", SCAN_ID, "--json", "--against", OLDER).stdout) == sent
    assert f"against={OLDER}" in server.asked[-1][1]


def test_nothing_changed_is_said(server: StandIn) -> None:
    server.answers["GET", PATH] = (200, page())
    assert "Nothing changed in what was looked at." in pulsar("diff", SCAN_ID).stdout


def test_every_page_is_fetched(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [difference("new", f"127.0.0.1:{port}/tcp") for port in range(1, 251)]

    def answer(path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        number = int(query["page"][0])
        more = "more" if number < 3 else None
        return 200, page(*rows[(number - 1) * 100 : number * 100], following=more)

    monkeypatch.setattr(server, "_page", answer)
    found = json.loads(pulsar("diff", SCAN_ID, "--json").stdout)
    assert found["results"] == rows


def test_a_scan_with_nothing_to_compare_is_refused_in_a_sentence(server: StandIn) -> None:
    refusal = {"error": "not_found", "detail": "there is no earlier scan to compare with", "hint": "name one"}
    server.answers["GET", PATH] = (404, refusal)
    result = pulsar("diff", SCAN_ID)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no earlier scan to compare with" in result.stderr
