"""The policy of a scan, asked for by name or brought along: frozen into it, and part of what its key stands for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from fastapi.testclient import TestClient

from api.asking import Desk
from api.prefect import PrefectGateway
from api.schemas import ScanRequest
from footprint.errors import Conflict, InvalidPolicy
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.policies import delete_policy, replace_policy
from footprint.store.views import scan_by_id
from tasks.policies import policy_of
from tests.api.test_policies import MINE, OLD, own_names


class Prefect(PrefectGateway):
    """Stands in for a Prefect that makes a run of every scan."""

    def __init__(self) -> None:
        """No server is asked."""

    async def start(self, scan_id: Any, name: str, at: Any = None) -> Any:
        """A run of its own for each scan."""
        return uuid4()


@pytest.fixture
def desk(opened: Store, settings: Settings) -> Desk:
    """Where scans are asked for."""
    return Desk(settings, opened, Prefect())


@pytest.fixture
def frozen(opened: Store) -> Callable[[Any], Any]:
    """What a scan's policy says, by the scan's id."""

    def read(scan_id: Any) -> dict[str, Any]:
        with opened.read() as session:
            return dict(scan_by_id(session, scan_id).policy)

    return read


def _asked(policy: object, **more: Any) -> ScanRequest:
    return ScanRequest.model_validate({"target": "127.0.0.1", "policy": policy, **more})


async def test_a_scan_by_name_keeps_what_the_policy_said(
    client: TestClient, opened: Store, desk: Desk, frozen: Callable[[Any], Any]
) -> None:
    client.post("/api/policies/", json=MINE).raise_for_status()
    scan = await desk.ask(_asked("mine"), None)
    assert scan.policy == "mine"
    said = policy_of(MINE).model_dump(mode="json")
    assert frozen(scan.id) == said
    client.put("/api/policies/mine/", json={"modules": {"dns": {}}}).raise_for_status()
    assert client.get(f"/api/scans/{scan.id}/policy/").json() == said
    client.delete("/api/policies/mine/").raise_for_status()
    assert client.get(f"/api/scans/{scan.id}/policy/").json() == said
    assert client.get(f"/api/scans/{scan.id}/").json()["policy"] == "mine"
    with pytest.raises(InvalidPolicy):
        await desk.ask(_asked("mine"), None)


async def test_a_policy_may_come_with_the_scan(desk: Desk, frozen: Callable[[Any], Any], opened: Store) -> None:
    nameless = {name: value for name, value in MINE.items() if name != "name"}
    scan = await desk.ask(_asked(nameless), None)
    assert scan.policy == "inline"
    assert frozen(scan.id) == policy_of({**MINE, "name": "inline"}).model_dump(mode="json")
    named = await desk.ask(_asked(OLD), None)
    assert named.policy == "old"
    assert frozen(named.id)["ports"] == "top:50"
    assert own_names(opened) == []


async def test_a_policy_that_comes_with_a_scan_does_not_pass_for_another(desk: Desk) -> None:
    with pytest.raises(InvalidPolicy, match=r"policy\.name"):
        await desk.ask(_asked({**MINE, "name": "quick"}), None)


async def test_the_same_key_with_another_policy_is_another_request(desk: Desk) -> None:
    first = await desk.ask(_asked(MINE), "key")
    assert (await desk.ask(_asked(dict(reversed(MINE.items()))), "key")).id == first.id
    for other in ({**MINE, "depth": 3}, {**MINE, "name": "other"}, "quick"):
        with pytest.raises(Conflict):
            await desk.ask(_asked(other), "key")


async def test_a_key_leads_to_its_scan_whatever_became_of_the_policy(
    client: TestClient, opened: Store, desk: Desk
) -> None:
    client.post("/api/policies/", json=MINE).raise_for_status()
    first = await desk.ask(_asked("mine"), "key")
    with opened.write() as session:
        replace_policy(session, policy_of({"name": "mine", "modules": {"dns": {}}}))
    assert (await desk.ask(_asked("mine"), "key")).id == first.id
    with opened.write() as session:
        delete_policy(session, "mine")
    assert (await desk.ask(_asked("mine"), "key")).id == first.id


def test_the_policy_of_no_scan(client: TestClient) -> None:
    assert client.get(f"/api/scans/{uuid4()}/policy/").status_code == 404
