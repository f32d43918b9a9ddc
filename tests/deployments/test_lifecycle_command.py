"""The verbs that end scans, or go on with them: what they ask, what they print, and their exit codes."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from deployments.command import app
from tests.deployments.invoking import pulsar
from tests.deployments.rest_stand_in import SCAN_ID, StandIn, nmap_at, scan

pytestmark = pytest.mark.usefixtures("hurried")

GONE = (409, {"error": "conflict", "detail": "the scan has ended already: SUCCESS"})


def _asked(server: StandIn) -> list[tuple[str, str, object]]:
    return [(method, path, body) for method, path, _, body in server.asked if method != "GET"]


def test_a_cancel_waits_until_nothing_is_left_and_says_so(server: StandIn) -> None:
    server.on_post = (202, nmap_at(41))
    server.story = [nmap_at(41), scan("REVOKED", 41, processes_ended=4)]
    result = pulsar("cancel", SCAN_ID)
    assert result.exit_code == 0
    assert _asked(server) == [("POST", f"/api/scans/{SCAN_ID}/cancel/", None)]
    assert result.stdout.startswith("REVOKED after 1 min 14 s")
    assert result.stdout.endswith("before it was cancelled; 4 processes were ended\n")


def test_a_cancel_that_does_not_wait_leaves_at_once(server: StandIn) -> None:
    server.on_post = (202, nmap_at(41))
    assert json.loads(pulsar("cancel", SCAN_ID, "--no-wait", "--json").stdout)["status"] == "STARTED"
    assert [method for method, _, _, _ in server.asked].count("GET") == 1, "only the question whether it is there"


@pytest.mark.parametrize("verb", ["cancel", "resume", "rerun"])
def test_what_contradicts_the_scans_state_is_exit_code_2(server: StandIn, verb: str) -> None:
    server.on_post = GONE
    result = pulsar(verb, SCAN_ID)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "has ended already" in result.stderr


@pytest.mark.parametrize(
    ("words", "body"), [(("resume",), None), (("resume", "--module", "nmap"), {"module": "nmap"}), (("rerun",), None)]
)
def test_a_resumed_or_repeated_scan_is_a_new_one_and_its_id_is_printed(
    server: StandIn, words: tuple[str, ...], body: object
) -> None:
    server.on_post = (201, scan("PENDING", id="the-new-one"))
    result = pulsar(*words, SCAN_ID)
    assert result.stdout == "the-new-one\n"
    assert _asked(server) == [("POST", f"/api/scans/{SCAN_ID}/{words[0]}/", body)]


def test_a_purge_asks_first_and_does_nothing_without_a_yes(server: StandIn) -> None:
    server.on_post, server.rows["scans"] = (200, {"revoked": 3}), [scan("PENDING")] * 3
    refused = CliRunner().invoke(app, ["purge"], input="n\n")
    assert (refused.exit_code, _asked(server)) == (1, [])
    assert "(3 now)" in refused.stderr
    assert CliRunner().invoke(app, ["purge"], input="y\n").stdout.endswith("3 scans were revoked.\n")


def test_a_forced_purge_does_not_ask(server: StandIn) -> None:
    server.on_post = (200, {"revoked": 1})
    assert pulsar("purge", "-f").stdout == "1 scan was revoked.\n"
    assert json.loads(pulsar("purge", "-f", "--json").stdout) == {"revoked": 1}


def test_a_scan_is_forgotten(server: StandIn) -> None:
    result = pulsar("delete", SCAN_ID)
    assert (result.exit_code, result.stdout) == (0, "")
    assert _asked(server) == [("DELETE", f"/api/scans/{SCAN_ID}/", None)]
    server.on_delete = (409, {"error": "conflict", "detail": "the scan has not ended: STARTED"})
    assert pulsar("delete", SCAN_ID).exit_code == 2


def test_a_scan_says_what_it_waits_for(server: StandIn) -> None:
    server.story = [scan("RETRY", 40, waiting="window opens at 2026-05-04 22:00:00 UTC")]
    assert "window opens at 2026-05-04 22:00:00 UTC" in pulsar("status", SCAN_ID).stdout
