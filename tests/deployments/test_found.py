"""What is printed of a scan's findings and technologies, and `pulsar feeds`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployments.found import MOST_FINDINGS
from tests.deployments.invoking import lines_with, pulsar
from tests.deployments.rest_stand_in import StandIn, service

pytestmark = pytest.mark.usefixtures("hurried")
FEEDS = Path(__file__).parent.parent / "fixtures" / "feeds"


def _finding(severity: str, title: str, **more: Any) -> dict[str, Any]:
    return {
        "rule": "http_probe/x",
        "subject": "127.0.0.1:80/tcp",
        "title": title,
        "severity": severity,
        "confidence": 1.0,
    } | more


def test_findings_are_printed_the_worst_first(server: StandIn) -> None:
    server.rows |= {
        "services": [service("127.0.0.1", 80)],
        "domains": [],
        "findings": [
            _finding("low", "a small thing"),
            _finding("critical", "a big thing", score=9.8, confidence=0.45),
            _finding("high", "a worse thing\x1b[2J", score=8.1),
            _finding("high", "a bad thing", score=7.2),
        ],
    }
    result = pulsar("scan", "127.0.0.1", "--policy", "quick")
    assert result.exit_code == 0
    rows = [line.split() for line in lines_with(result.stdout, " thing")]
    assert [row[0] for row in rows] == ["critical", "high", "high", "low"]
    assert rows[0][1:3] == ["9.8", "45%"]
    assert [row[1] for row in rows[1:3]] == ["8.1", "7.2"]
    assert "\x1b" not in result.stdout


def test_what_services_are_made_with_is_printed_a_line_a_service(server: StandIn) -> None:
    site = "www.example.test@127.0.0.1:443/tcp"
    server.rows |= {
        "services": [service("127.0.0.1", 443)],
        "domains": [],
        "technologies": [
            {"subject": site, "name": "nginx", "version": "1.22.1"},
            {"subject": site, "name": "jQuery", "version": None},
        ],
    }
    result = pulsar("scan", "127.0.0.1", "--policy", "quick")
    assert [" ".join(line.split()) for line in lines_with(result.stdout, site)] == [f"{site} nginx 1.22.1, jQuery"]


def test_more_findings_than_fit_are_counted(server: StandIn) -> None:
    server.rows |= {
        "services": [service("127.0.0.1", 80)],
        "domains": [],
        "findings": [_finding("low", f"thing {number}") for number in range(MOST_FINDINGS + 7)],
    }
    result = pulsar("scan", "127.0.0.1", "--policy", "quick")
    assert len(lines_with(result.stdout, "thing ")) == MOST_FINDINGS
    assert "7 more findings" in result.stdout


def test_feeds_are_read_from_a_directory_and_shown(no_platform: Path) -> None:
    assert "pulsar feeds update" in pulsar("feeds", "status").stdout
    result = pulsar("feeds", "update", "--from", str(FEEDS))
    assert result.exit_code == 0
    shown = {
        line.split()[0]: line.split()[1]
        for line in result.stdout.splitlines()
        if line.startswith(("nvd", "epss", "kev"))
    }
    assert shown == {"epss": "8", "kev": "3", "nvd": "8"}
    assert lines_with(pulsar("feeds", "status").stdout, "kev")


def test_a_directory_without_feeds_is_said_with_what_is_missing(no_platform: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = pulsar("feeds", "update", "--from", str(tmp_path / "empty"))
    assert result.exit_code == 1
    assert "nvd*.json" in result.stdout
    assert pulsar("feeds", "update", "--from", str(tmp_path / "nowhere")).exit_code == 2
