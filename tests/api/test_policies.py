"""Policies of one's own over REST: kept, read, changed, forgotten, and never half-read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from footprint.policy import PRESETS
from footprint.store import Store
from footprint.store.policies import policies_page
from footprint.store.views import scans_page

MINE: dict[str, Any] = {
    "name": "mine",
    "description": "Ours.",
    "modules": {"dns": {}, "nmap": {"timing": 3}},
    "depth": 2,
}
OLD = {"name": "old", "nmap_enabled": True, "intensity_level": "LOW", "optimization_flags": "-T2 --top-ports 50"}

BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"name": None}, "name", "text"),
    ({"name": ""}, "name", "of the form"),
    ({"name": "Mine<script>"}, "name", "of the form"),
    ({"name": "x" * 65}, "name", "of the form"),
    ({"description": "x" * 1001}, "description", "at most 1000 characters"),
    ({"description": "two\nlines"}, "description", "one line"),
    ({"description": "nul\x00"}, "description", "one line"),
    ({"description": "turned \u202e round"}, "description", "one line"),
    ({"modules": None}, "modules", "an object"),
    ({"modules": ["nmap"]}, "modules", "an object"),
    ({"modules": {}}, "modules", "at least one"),
    ({"modules": {"evil<script>": {}}}, "modules", "no. 1 is no module"),
    ({"modules": {"dns": {}, "../nmap": {}}}, "modules", "no. 2 is no module"),
    ({"modules": {"": {}}}, "modules", "no. 1 is no module"),
    ({"modules": {"nmap": None}}, "modules.nmap", "an object"),
    ({"modules": {"nmap": {"flags": "--script=evil<script>"}}}, "modules.nmap", "field no. 1 is not known"),
    ({"modules": {"nmap": {"timing": 0}}}, "modules.nmap.timing", "at least 2"),
    ({"modules": {"nmap": {"timing": "3"}}}, "modules.nmap.timing", "a whole number"),
    ({"modules": {"nmap": {"timing": True}}}, "modules.nmap.timing", "a whole number"),
    ({"modules": {"nmap": {"max_rate": 100_001}}}, "modules.nmap.max_rate", "at most 100000"),
    ({"modules": {"nmap": {"max_rate": 2.5}}}, "modules.nmap.max_rate", "a whole number"),
    ({"modules": {"nmap": {"max_rate": 10**400}}}, "modules.nmap.max_rate", "at most 100000"),
    ({"modules": {"nmap": {"technique": "idle<script>"}}}, "modules.nmap.technique", "one of 'syn' or 'connect'"),
    ({"modules": {"nmap": {"ports": "80;id"}}}, "modules.nmap.ports", "ports are"),
    ({"modules": {"nmap": {"host_timeout": 3600}}}, "modules.nmap.host_timeout", "at most 3060"),
    ({"modules": {"nmap": {"own_ports": [1]}}}, "modules.nmap.own_ports", "not for a policy"),
    ({"modules": {"dns": {"rate": -1}}}, "modules.dns.rate", "at least"),
    ({"concurrency": 0}, "concurrency", "at least 1"),
    ({"concurrency": 65}, "concurrency", "at most 64"),
    ({"concurrency": "8"}, "concurrency", "a whole number"),
    ({"intensity": 6}, "intensity", "at most 5"),
    ({"intensity": -1}, "intensity", "at least 0"),
    ({"intensity": 2.0}, "intensity", "a whole number"),
    ({"intensity": [3]}, "intensity", "a whole number"),
    ({"ports": ""}, "ports", "ports are"),
    ({"ports": "0"}, "ports", "a port is 1 to 65535"),
    ({"ports": "65536"}, "ports", "a port is 1 to 65535"),
    ({"ports": "100-1"}, "ports", "a range goes upwards"),
    ({"ports": "top:0"}, "ports", "ports are"),
    ({"ports": "top:65536"}, "ports", "at most 65535"),
    ({"ports": "80 -oN evil<script>"}, "ports", "ports are"),
    ({"ports": "1," * 2000}, "ports", "at most 2000 characters"),
    ({"ports": 80}, "ports", "text"),
    ({"max_addresses": 65537}, "max_addresses", "at most 65536"),
    ({"depth": 17}, "depth", "at most 16"),
    ({"max_records": 0}, "max_records", "at least 1"),
    ({"unit_timeout": 9}, "unit_timeout", "at least 10"),
    ({"unit_timeout": 86_401}, "unit_timeout", "at most 86400"),
    ({"scan_timeout": 604_801}, "scan_timeout", "at most 604800"),
    ({"unit_timeout": 601, "scan_timeout": 600}, "unit_timeout", "at most 600"),
    ({"required": "nmap"}, "required", "a list"),
    ({"required": ["dns", "tls"]}, "required.1", "not among the modules"),
    ({"required": ["Nmap"]}, "required.0", "of the form"),
    ({"required": ["dns"] * 65}, "required", "at most 64 entries"),
    ({"evil<script>": 1}, "policy", "is not known"),
    ({"__prefect_kind": "jinja", "template": "{{ 1 }}"}, "policy", "is not known"),
    ({"intensity_level": 6}, "intensity_level", "at most 5"),
    ({"intensity_level": "EVIL<script>"}, "intensity_level", "0 to 5"),
    ({"intensity": 1, "intensity_level": 1}, "intensity_level", "older name"),
    ({"nmap_enabled": True}, "nmap_enabled", "modules says already"),
    ({"modules": ..., "nmap_enabled": "evil<script>"}, "nmap_enabled", "true or false"),
    ({"optimization_flags": "--script=evil<script>"}, "optimization_flags.0", "is no flag that may be given"),
    ({"optimization_flags": ["-sS", "-oN /evil<script>"]}, "optimization_flags.1", "is no flag that may be given"),
    ({"optimization_flags": "--max-rate 0"}, "optimization_flags.0", "at least 1"),
    ({"optimization_flags": "--max-rate evil<script>"}, "optimization_flags.0", "a whole number"),
    ({"optimization_flags": "-T4"}, "optimization_flags.0", "is set already"),
    ({"optimization_flags": {"nmap": "-T4"}}, "optimization_flags", "text, or a list of text"),
    ({"ports": ..., "optimization_flags": "-p evil<script>"}, "optimization_flags.0", "ports are"),
]  # fmt: skip


def _said(changes: dict[str, Any]) -> dict[str, Any]:
    """The good policy with these changes; `...` takes a field out."""
    return {name: value for name, value in {**MINE, **changes}.items() if value is not ...}


def own_names(store: Store) -> list[str]:
    with store.read() as session:
        return [known.policy.name for known in policies_page(session, 0, 100)[0] if not known.is_shipped]


def _refusal(client: TestClient, method: str, path: str, said: object) -> dict[str, str]:
    """The fields at fault and what they must be, as an answer of 422 lists them."""
    answer = client.request(method, path, json=said)
    refused = answer.json()
    assert (answer.status_code, refused["error"]) == (422, "invalid_policy"), answer.text
    assert "<script>" not in answer.text
    assert all(f"{entry['field']}: {entry['problem']}" in refused["detail"] for entry in refused["fields"][:5])
    return {entry["field"]: entry["problem"] for entry in refused["fields"]}


def test_every_bad_policy_is_refused_with_the_field_and_the_bound(client: TestClient, opened: Store) -> None:
    for changes, field, bound in BAD:
        said = _said(changes)
        assert bound in _refusal(client, "POST", "/api/policies/", said)[field], changes
        within = field if field == "policy" else f"policy.{field}"
        asked = {"target": "127.0.0.1", "policy": said}
        assert bound in _refusal(client, "POST", "/api/scans/", asked)[within], changes
    assert own_names(opened) == []
    with opened.read() as session:
        assert scans_page(session, status=None, target=None, offset=0, limit=1)[1] == 0


def test_a_bad_policy_takes_no_good_ones_place(client: TestClient) -> None:
    kept = client.post("/api/policies/", json=MINE).json()
    for changes, field, bound in BAD:
        assert bound in _refusal(client, "PUT", "/api/policies/mine/", _said(changes))[field], changes
    assert client.get("/api/policies/mine/").json() == kept


def test_the_name_of_policies_that_come_with_a_scan_is_not_to_be_had(client: TestClient) -> None:
    assert "is kept for" in _refusal(client, "POST", "/api/policies/", {**MINE, "name": "inline"})["name"]


@pytest.mark.parametrize("body", [None, [], [MINE], "mine", 5, True])
def test_what_is_no_object_is_no_policy(client: TestClient, body: object) -> None:
    for method, path in (("POST", "/api/policies/"), ("PUT", "/api/policies/mine/"), ("PATCH", "/api/policies/mine/")):
        answer = client.request(method, path, json=body)
        assert (answer.status_code, answer.json()["error"]) in [
            (422, "invalid_policy"), (422, "invalid_request"), (404, "not_found"),
        ]  # fmt: skip


def test_a_body_that_is_not_called_json_is_no_policy(client: TestClient) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = client.post("/api/policies/", content=json.dumps(MINE), headers={"Content-Type": kind})
        assert answer.status_code == 422


@pytest.mark.parametrize("policy", [5, None, [], True, "x" * 65])
def test_a_scans_policy_is_a_name_or_an_object(client: TestClient, policy: object) -> None:
    answer = client.post("/api/scans/", json={"target": "127.0.0.1", "policy": policy})
    assert answer.status_code == 422
    assert [entry["field"] for entry in answer.json()["fields"]] == ["policy"]


def test_a_scan_by_a_name_of_nothing_names_the_field(client: TestClient) -> None:
    answer = client.post("/api/scans/", json={"target": "127.0.0.1", "policy": "other<script>"})
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid_policy")
    assert answer.json()["fields"] == [{"field": "policy", "problem": "there is no policy of that name"}]
    assert "script" not in answer.text


def test_every_fault_is_listed_and_a_flood_of_them_is_cut(client: TestClient) -> None:
    three = client.post("/api/policies/", json={**MINE, "intensity": 9, "depth": 99, "ports": "0"}).json()
    assert {entry["field"] for entry in three["fields"]} == {"intensity", "depth", "ports"}
    flood = client.post("/api/policies/", json={**MINE, "modules": {f"m{number}": {} for number in range(4000)}})
    assert flood.status_code == 422
    assert len(flood.json()["fields"]) == 50
    assert flood.json()["detail"].endswith("and 3995 more")


def test_a_policy_lives_from_its_post_to_its_delete(client: TestClient) -> None:
    made = client.post("/api/policies/", json=MINE)
    assert made.status_code == 201
    shown = made.json()
    assert {name: shown[name] for name in MINE} == MINE
    assert (shown["shipped"], shown["intensity"], shown["ports"]) == (False, 3, "top:1000")
    assert shown["created_at"] == shown["updated_at"] is not None
    assert made.headers["Location"].endswith("/api/policies/mine/")
    assert client.get(made.headers["Location"]).json() == shown

    replaced = client.put("/api/policies/mine/", json={"modules": {"dns": {}}, "intensity": 1}).json()
    assert (replaced["description"], replaced["modules"], replaced["intensity"]) == ("", {"dns": {}}, 1)
    assert replaced["created_at"] == shown["created_at"] < replaced["updated_at"]

    changed = client.patch("/api/policies/mine/", json={"ports": "all"}).json()
    assert (changed["ports"], changed["intensity"], changed["modules"]) == ("all", 1, {"dns": {}})
    assert client.get("/api/policies/mine/").json() == changed

    gone = client.delete("/api/policies/mine/")
    assert (gone.status_code, gone.content) == (204, b"")
    for method in ("GET", "DELETE"):
        assert client.request(method, "/api/policies/mine/").status_code == 404
    for method in ("PUT", "PATCH"):
        assert client.request(method, "/api/policies/mine/", json=MINE).status_code == 404


def test_what_was_read_can_be_written_back(client: TestClient) -> None:
    shown = client.post("/api/policies/", json=MINE).json()
    again = client.put("/api/policies/mine/", json=shown)
    assert again.status_code == 200
    assert again.json() | {"updated_at": None} == shown | {"updated_at": None}
    copy = client.post("/api/policies/", json={**client.get("/api/policies/quick/").json(), "name": "quicker"}).json()
    assert copy["modules"] == PRESETS["quick"].modules
    assert not copy["shipped"]


def test_policies_are_listed_the_shipped_ones_first(client: TestClient) -> None:
    for name in ("zebra", "ant"):
        client.post("/api/policies/", json={**MINE, "name": name}).raise_for_status()
    names = [*PRESETS, "ant", "zebra"]
    whole = client.get("/api/policies/", params={"page_size": 100}).json()
    assert [entry["name"] for entry in whole["results"]] == names
    assert (whole["count"], whole["next"]) == (len(names), None)
    second = client.get("/api/policies/", params={"page_size": 3, "page": 2}).json()
    assert [entry["name"] for entry in second["results"]] == names[3:6]
    assert client.get("/api/policies/", params={"page": 2}).status_code == 404


def test_a_name_is_taken_once(client: TestClient) -> None:
    client.post("/api/policies/", json=MINE).raise_for_status()
    for name in ("mine", "quick"):
        again = client.post("/api/policies/", json={**MINE, "name": name})
        assert (again.status_code, again.json()["error"]) == (409, "conflict")
        assert again.json()["hint"]
    renamed = client.put("/api/policies/mine/", json={**MINE, "name": "other"})
    assert (renamed.status_code, renamed.json()["fields"][0]["field"]) == (422, "name")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_shipped_policy_stays_as_it_is(client: TestClient, method: str) -> None:
    before = client.get("/api/policies/quick/").json()
    answer = client.request(method, "/api/policies/quick/", json=None if method == "DELETE" else {"intensity": 5})
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
    assert "copy it under another name" in answer.json()["hint"]
    assert client.get("/api/policies/quick/").json() == before


@pytest.mark.parametrize("name", ["Quick", "no-such", "x" * 65, "..", "quick%00", "%E9", "a b", "1"])
def test_names_of_nothing(client: TestClient, name: str) -> None:
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        answer = client.request(method, f"/api/policies/{name}/", json=None if method in {"GET", "DELETE"} else MINE)
        assert answer.status_code == 404, method


def test_older_fields_are_kept_in_todays_words(client: TestClient) -> None:
    shown = client.post("/api/policies/", json=OLD).json()
    assert shown["modules"] == {"dns": {}, "nmap": {"timing": 2}}
    assert (shown["intensity"], shown["ports"]) == (1, "top:50")
    assert not {"nmap_enabled", "intensity_level", "optimization_flags"} & set(shown)
    lower = client.patch("/api/policies/old/", json={"intensity_level": 0, "amass_enabled": True}).json()
    assert (lower["intensity"], set(lower["modules"])) == (0, {"dns", "nmap", "amass"})


def test_the_description_shows_both_ways_and_every_modules_options(anyone: TestClient) -> None:
    described = anyone.get("/openapi.json").json()["components"]["schemas"]
    ways = described["ScanRequest"]["properties"]["policy"]["anyOf"]
    assert ways == [{"type": "string", "maxLength": 64}, {"$ref": "#/components/schemas/InlinePolicy"}]
    assert "name" not in described["InlinePolicy"]["required"]
    assert {"nmap_enabled", "intensity_level", "optimization_flags"} <= set(described["PolicyIn"]["properties"])
    assert described["Modules"]["properties"]["nmap"]["$ref"] == "#/components/schemas/NmapOptions"
