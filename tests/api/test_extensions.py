"""Extensions over the API: installed whole, replaced, removed; what cannot be taken is said and leaves nothing."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.extension_schemas import ExtensionRequest
from footprint.extensions import extension_named
from footprint.settings import Settings

GOOD = {
    "name": "old-php",
    "description": "A web server that shows an outdated PHP",
    "accepts": ["service"],
    "services": ["http"],
    "script": "check.sh",
    "interpreter": "sh",
    "severity": "medium",
    "text": 'grep "PHP/5"\n# sève 🦀\n',
}
URL = "/api/extensions/old-php/"


@pytest.fixture
def folder(settings: Settings) -> Path:
    """Where extensions are kept."""
    return settings.home / "extensions"


def test_an_extension_is_installed_read_replaced_and_removed(
    client: TestClient, settings: Settings, folder: Path
) -> None:
    made = client.post("/api/extensions/", json=GOOD)
    assert (made.status_code, made.headers["Location"]) == (201, f"http://127.0.0.1{URL}")
    shown = client.get(URL).json()
    assert shown == {"manifest": made.json(), "text": GOOD["text"]}
    assert (made.json()["timeout"], made.json()["error"]) == (60, None)
    assert client.get("/api/extensions/").json()["results"] == [made.json()]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
    assert modes == {"old-php": 0o700, "extension.toml": 0o600, "check.sh": 0o600}

    put = client.put(URL, json=GOOD | {"script": "other.py", "text": "print()", "interpreter": "python3"})
    assert put.status_code == 200
    assert extension_named(settings.home, "old-php").text == "print()"
    assert {path.name for path in (folder / "old-php").iterdir()} == {"extension.toml", "other.py"}

    assert client.delete(URL).status_code == 204
    assert list(folder.iterdir()) == []
    assert [client.request(method, URL).status_code for method in ("GET", "DELETE")] == [404, 404]
    assert client.put(URL, json=GOOD).status_code == 404


def test_what_is_there_is_not_overwritten(client: TestClient, settings: Settings) -> None:
    client.post("/api/extensions/", json=GOOD)
    answer = client.post("/api/extensions/", json=GOOD | {"text": "echo other"})
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
    assert client.put(URL, json=GOOD | {"name": "another"}).status_code == 409
    assert extension_named(settings.home, "old-php").text == GOOD["text"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": "../evil"}, "name"),
        ({"name": ".hidden"}, "name"),
        ({"name": "a" * 33}, "name"),
        ({"script": "../../evil"}, "script"),
        ({"script": "extension.toml"}, "script"),
        ({"script": "-rf"}, "script"),
        ({"interpreter": "/home/evil"}, "interpreter"),
        ({"interpreter": "/usr/../home/evil"}, "interpreter"),
        ({"accepts": []}, "accepts"),
        ({"accepts": ["network"]}, "accepts"),
        ({"accepts": "domain"}, "services and ports"),
        ({"timeout": 0}, "timeout"),
        ({"memory": 100_000}, "memory"),
        ({"network": "all"}, "network"),
        ({"cvss": "very bad"}, "cvss"),
        ({"score": 10.1}, "score"),
        ({"reference": "javascript:alert(1)"}, "reference"),
        ({"description": "two\nlines"}, "description"),
        ({"text": ""}, "text"),
        ({"text": "a\x00b"}, "text"),
        ({"s3cret": 1}, "field"),
    ],
)
def test_what_cannot_be_taken_is_said_and_leaves_nothing(
    client: TestClient, folder: Path, changed: dict[str, object], said: str
) -> None:
    answer = client.post("/api/extensions/", json=GOOD | changed)
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_request")
    assert said in answer.json()["detail"]
    assert "s3cret" not in answer.text
    assert not folder.exists()


def test_a_script_is_no_larger_than_a_body(client: TestClient, folder: Path) -> None:
    assert client.post("/api/extensions/", json=GOOD | {"text": "x" * 65_600}).status_code == 413
    assert not folder.exists()


@pytest.mark.parametrize("name", ["..", "..%2f..%2fetc", "OLD", "a%00b", "%2e%2e"])
def test_a_name_in_an_address_leads_nowhere_else(client: TestClient, settings: Settings, name: str) -> None:
    (settings.home / "etc").mkdir()
    answers = [client.request(method, f"/api/extensions/{name}/") for method in ("GET", "DELETE")]
    assert {answer.status_code for answer in answers} <= {404, 405}
    assert (settings.home / "etc").exists()


def test_what_somebody_broke_by_hand_is_listed_with_its_error(client: TestClient, folder: Path) -> None:
    (folder / "broken").mkdir(parents=True)
    (listed,) = client.get("/api/extensions/").json()["results"]
    assert (listed["name"], listed["accepts"]) == ("broken", None)
    assert listed["error"] == "extension.toml is not there"
    answer = client.get("/api/extensions/broken/")
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_extension")


def test_the_example_can_be_installed(client: TestClient) -> None:
    (example,) = ExtensionRequest.model_json_schema()["examples"]
    assert client.post("/api/extensions/", json=example).status_code == 201
