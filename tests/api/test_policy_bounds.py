"""Every field of a policy and of every module's options, beyond its bounds: refused with the field and the bound.

The cases are derived from what `/openapi.json` says to callers, so that a new field or module is asked as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from fastapi.testclient import TestClient

from footprint.older_flags import FLAGS
from footprint.store import Store
from tests.api.test_policies import own_names

HOSTILE = ("--script=evil", "-iL /evil", "; id #evil", "$(evil)", "evil\x00")
"""What would be a flag, a command or a path if it got anywhere."""
FREE_TEXT = {"description", "modules.http_probe.user_agent"}
"""Text that may say what it likes: it is shown, or travels in a header."""
BODY = 10_000
"""Entries of a list that a body still has room for."""
WINDOW = {"from": "22:00", "until": "06:00"}
WORDS = {"date": "a date such as", "time": "a time such as", "duration": "a duration such as"}
SOUND = {"required.0": "dns", "notify.to.0": "somebody/else", "blackouts.0": "2026-01-01", "windows.0": WINDOW}
"""Values that are in order, where they cannot be told from the description."""


class Bad(NamedTuple):
    """A field by its place, a value beyond its bounds, and words of the bound."""

    field: str
    value: object
    bound: str


def _whole(number: float) -> float:
    """A bound as it is said in words: the description makes floats of all."""
    return int(number) if float(number).is_integer() else number


class Described:
    """The description of the API, read for what may be said of each field."""

    def __init__(self, client: TestClient) -> None:
        self._schemas = client.get("/openapi.json").json()["components"]["schemas"]

    def of(self, schema: dict[str, Any]) -> dict[str, Any]:
        """A schema without references, and without the null that stands beside it."""
        if "$ref" in schema:
            return self.of(self._schemas[schema["$ref"].rpartition("/")[2]])
        ways = [way for way in schema.get("anyOf", ()) if way.get("type") != "null"]
        return self.of(ways[0]) if len(ways) == 1 else schema

    def fields(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every field of today's policy, of its windows and rules, and of its modules' options, by its place."""
        for name, schema in self._schemas["PolicyIn"]["properties"].items():
            if name != "name" and not schema.get("deprecated"):
                yield from self._within(name, self.of(schema))

    def _within(self, place: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        yield place, schema
        for name, inner in schema.get("properties", {}).items():
            yield from self._within(f"{place}.{name}", self.of(inner))
        if schema.get("type") == "array":
            yield from self._within(f"{place}.0", self.of(schema["items"]))

    def beyond(self, place: str, schema: dict[str, Any]) -> Iterator[Bad]:
        """Values beyond each of a field's bounds."""
        kind = schema.get("type")
        if "enum" in schema:
            yield Bad(place, 99 if kind == "integer" else "evil", "one of")
        elif kind in ("integer", "number"):
            yield from self._beyond_numbers(place, schema)
        elif kind == "boolean":
            yield Bad(place, "evil", "true or false")
            yield Bad(place, 1, "true or false")
        elif kind == "array":
            yield Bad(place, "evil", "a list")
            yield from self._beyond_length(place, schema)
        elif kind == "object":
            yield Bad(place, ["evil"], "an object")
        elif kind == "string":
            yield Bad(place, 5, WORDS.get(schema.get("format", ""), "text"))
            if "maxLength" in schema:
                yield Bad(place, "x" * (schema["maxLength"] + 1), f"at most {schema['maxLength']} characters")

    def _beyond_numbers(self, place: str, schema: dict[str, Any]) -> Iterator[Bad]:
        least, most = (_whole(schema[bound]) for bound in ("minimum", "maximum"))
        yield Bad(place, least - 1, f"at least {least}")
        yield Bad(place, most + 1, f"at most {most}")
        for other in ("1", True):
            yield Bad(place, other, "a whole number" if schema["type"] == "integer" else "a number")

    def _beyond_length(self, place: str, schema: dict[str, Any]) -> Iterator[Bad]:
        items = self.of(schema["items"])
        one = SOUND.get(f"{place}.0") or items.get("enum", [items.get("minimum", "a")])[0]
        # amass's list of words has a bound that no body of 64 KB reaches.
        if schema.get("maxItems", BODY) < BODY:
            yield Bad(place, [one] * (schema["maxItems"] + 1), f"at most {schema['maxItems']} entries")
        if "minItems" in schema:
            yield Bad(place, [], f"at least {schema['minItems']} entries")


def _with(field: str, value: object) -> dict[str, Any]:
    """A policy whose only fault is this one."""
    policy: dict[str, Any] = {"name": "mine", "modules": {"dns": {}}}
    *way, last = field.split(".")
    at: Any = policy
    for number, part in enumerate(way):
        after = way[number + 1] if number + 1 < len(way) else last
        if part == "0":
            at = at[0]
            continue
        if part not in at:
            at[part] = [dict(WINDOW) if part == "windows" else None] if after == "0" else {}
        at = at[part]
    at[0 if last == "0" else last] = value
    return policy


@pytest.fixture
def described(client: TestClient) -> Described:
    """The description."""
    return Described(client)


def _refusals(client: TestClient, said: dict[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Each way in which a policy can be given: what its fields are called there, and those at fault."""
    changes = {name: value for name, value in said.items() if name != "name"}
    asked = {"target": "127.0.0.1", "policy": said}
    for method, path, body, within in (
        ("POST", "/api/policies/", said, ""),
        ("PATCH", "/api/policies/kept/", changes, ""),
        ("POST", "/api/scans/", asked, "policy."),
    ):
        answer = client.request(method, path, content=json.dumps(body), headers={"Content-Type": "application/json"})
        refused = answer.json()
        assert (answer.status_code, refused["error"]) == (422, "invalid_policy"), (
            method,
            path,
            said,
            answer.text[:500],
        )
        assert "evil" not in answer.text, (method, path, said)
        yield within, {entry["field"]: entry["problem"] for entry in refused["fields"]}


def _check(client: TestClient, bad: Bad, said: dict[str, Any] | None = None) -> None:
    """Only this field is at fault, by whatever way it is said; a list may be told to lack what is wrong in it."""
    for within, faults in _refusals(client, said or _with(bad.field, bad.value)):
        field = f"{within}{bad.field}"
        assert set(faults) <= {field, field.removesuffix(".0")}, (bad, faults)
        assert bad.bound in faults.get(field, "?"), (bad, faults)


@pytest.fixture
def kept(client: TestClient) -> dict[str, Any]:
    """A good policy that bad ones are to change."""
    made: dict[str, Any] = client.post("/api/policies/", json={"name": "kept", "modules": {"dns": {}}}).json()
    return made


def test_every_field_beyond_its_bounds_is_refused_by_all_ways(
    client: TestClient, opened: Store, described: Described, kept: dict[str, Any]
) -> None:
    asked = [bad for place, schema in described.fields() for bad in described.beyond(place, schema)]
    assert {"budget", "windows.0.days", "modules.nmap.max_rate", "modules.zmap.engine"} <= {bad.field for bad in asked}
    for bad in asked:
        _check(client, bad)
    assert client.get("/api/policies/kept/").json() == kept
    assert own_names(opened) == ["kept"]


def test_no_text_of_a_policy_may_be_a_flag_or_a_command(
    client: TestClient, described: Described, kept: dict[str, Any]
) -> None:
    texts = [place for place, schema in described.fields() if schema.get("type") == "string"]
    assert {"ports", "modules.nuclei.templates", "windows.0.timezone"} <= set(texts)
    for place in texts:
        for said in HOSTILE if place not in FREE_TEXT else ():
            _check(client, Bad(place, said, ""))
    assert client.get("/api/policies/kept/").json() == kept


SHORT = [text.replace(" ", "") for text in HOSTILE]
"""One word each: every word of flags is refused by its own place."""
OLDER = [
    *(Bad("intensity_level", value, "at most 5") for value in (6, 10**9)),
    Bad("intensity_level", -1, "at least 0"),
    Bad("intensity_level", "EVIL", "0 to 5, or one of LOW, MEDIUM, HIGH"),
    *(Bad("intensity_level", value, "a whole number") for value in (2.5, True, None, [])),
    *(
        Bad(f"{name}_enabled", value, "true or false")
        for name in ("amass", "nmap", "zmap")
        for value in (1, "evil", None)
    ),
    Bad("optimization_flags", 5, "text, or a list of text"),
    Bad("optimization_flags", ["-sS", None], "text, or a list of text"),
    Bad("optimization_flags", "-sS " * 65, "at most 64 words"),
    *(Bad("optimization_flags.0", said, "no flag that may be given; those are -T, --max-rate") for said in SHORT),
    *(Bad("optimization_flags.1", ["-sS", said], "no flag that may be given") for said in SHORT),
    *(Bad("optimization_flags.0", said, "0 to 5") for said in ("-T6", "-T evil", "-T=--script=evil")),
    *(Bad("optimization_flags.0", f"{flag} 0", "at least 1") for flag in ("--max-rate", "--host-timeout")),
    *(Bad("optimization_flags.0", f"{flag} 0", "at least 1") for flag in ("-r", "--rate")),
    *(Bad("optimization_flags.0", f"{flag} 100001", "at most 100000") for flag in ("--max-rate", "-r", "--rate")),
    Bad("optimization_flags.0", "--max-retries 11", "at most 10"),
    Bad("optimization_flags.0", "--version-intensity 10", "at most 9"),
    Bad("optimization_flags.0", "--host-timeout 25h", "at most 86400"),
    Bad("optimization_flags.0", "--host-timeout -iL", "a time such as"),
    *(Bad("optimization_flags.0", f"-p {ports}", "ports are") for ports in ("80;evil", "-iL", "$(evil)", "0x50")),
    *(Bad("optimization_flags.0", f"-p {ports}", "a port is 1 to 65535") for ports in ("0", "65536", "9-1")),
    Bad("optimization_flags.0", "--top-ports 65536", "at most 65535"),
    *(Bad("optimization_flags.0", flag, "needs a value") for flag in FLAGS if FLAGS[flag].takes_value),
]


def test_older_fields_beyond_their_bounds_are_refused_by_all_ways(client: TestClient, kept: dict[str, Any]) -> None:
    switches = {"nmap_enabled": True, "zmap_enabled": True}
    for bad in OLDER:
        field = bad.field.partition(".")[0]
        others = {} if field in switches or field == "amass_enabled" else switches
        _check(client, bad, {"name": "mine", **others, field: bad.value})
    assert client.get("/api/policies/kept/").json() == kept
