"""`pulsar webhook`: what is asked of the API, and that a secret is printed once and alone."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from deployments.command import app
from tests.deployments.invoking import lines_with, pulsar
from tests.deployments.rest_stand_in import StandIn

pytestmark = pytest.mark.usefixtures("hurried")
SIEM = {
    "name": "siem",
    "url": "https://hooks.example.com/\x1b[31mred",
    "receiver": "signed-webhook/siem",
    "created_at": "2026-03-01T10:00:00Z",
}
SECRET = "s3cret-of-the-webhook"


def test_webhooks_are_listed(server: StandIn) -> None:
    server.rows["webhooks"] = [SIEM]
    out = pulsar("webhook", "list").stdout
    assert lines_with(out, "siem")[0].split() == ["siem", "signed-webhook/siem", "https://hooks.example.com/[31mred"]
    assert json.loads(pulsar("webhook", "list", "--json").stdout) == [SIEM]
    server.rows["webhooks"] = []
    assert "There are no webhooks." in pulsar("webhook", "list").stdout + pulsar("webhook", "list").stderr


def test_a_webhook_is_kept_and_its_secret_is_all_of_stdout(server: StandIn) -> None:
    server.answers["POST", "/api/webhooks/"] = (201, {**SIEM, "secret": SECRET})
    result = pulsar("webhook", "add", "siem", "https://hooks.example.com/")
    assert (result.exit_code, result.stdout) == (0, f"{SECRET}\n")
    assert server.asked[-1][3] == {"name": "siem", "url": "https://hooks.example.com/"}
    own = CliRunner().invoke(app, ["webhook", "add", "siem", "https://x/", "--secret-from-stdin"], input=f"{SECRET}\n")
    assert own.exit_code == 0
    assert server.asked[-1][3]["secret"] == SECRET
    asked = len(server.asked)
    none = CliRunner().invoke(app, ["webhook", "add", "siem", "https://x/", "--secret-from-stdin"], input="\n")
    assert (none.exit_code, len(server.asked)) == (2, asked)


def test_a_test_says_whether_it_was_taken(server: StandIn) -> None:
    path = ("POST", "/api/webhooks/siem/test/")
    server.answers[path] = (200, {"delivered": True, "event_id": "0190a7f4", "error": None})
    well = pulsar("webhook", "test", "siem")
    assert (well.exit_code, "0190a7f4" in well.stdout) == (0, True)
    server.answers[path] = (200, {"delivered": False, "event_id": "0190a7f4", "error": "it answered 500\x1b[31m"})
    ill = pulsar("webhook", "test", "siem")
    assert (ill.exit_code, ill.stdout) == (1, "")
    assert "it answered 500[31m" in ill.stderr


def test_a_webhook_is_forgotten(server: StandIn) -> None:
    server.answers["DELETE", "/api/webhooks/siem/"] = (204, b"")
    assert pulsar("webhook", "rm", "siem").exit_code == 0
    assert server.asked[-1][0] == "DELETE"


@pytest.mark.parametrize("name", ["../scans", "Siem", "", "a/b", "x" * 65])
@pytest.mark.parametrize("verb", ["test", "rm"])
def test_what_is_no_name_is_not_asked_for(server: StandIn, verb: str, name: str) -> None:
    result = pulsar("webhook", verb, name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert [path for _, path, _, _ in server.asked] in ([], ["/api/health/"])
