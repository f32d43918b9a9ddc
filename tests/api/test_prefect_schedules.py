"""What schedules are called in Prefect, and how those of the store are told from others by it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.schedules import CronSchedule

from api.prefect_schedules import seen, slug_of, switch
from footprint.errors import NotFound

ID = UUID("5aa0fc9a-44e3-43ac-9c34-e0f703384f8e")


def _ours(slug: str | None) -> UUID | None:
    schedule = CronSchedule(cron="0 3 * * *")
    parameters = {"schedule_id": str(ID)}
    there = DeploymentSchedule(
        deployment_id=uuid4(), schedule=schedule, active=True, slug=slug, parameters=parameters
    )  # fmt: skip
    return seen(there).ours


@pytest.mark.parametrize(
    ("what", "slug"),
    [
        ("example.com", f"pulsar-example-com-{ID}"),
        ("198.51.100.0/24", f"pulsar-198-51-100-0-24-{ID}"),
        ("2001:db8::", f"pulsar-2001-db8-{ID}"),
        ("asset", f"pulsar-asset-{ID}"),
        ("a." * 200, f"pulsar-{'a-' * 29}a-{ID}"),
        ("::", f"pulsar-{ID}"),
    ],
)
def test_it_says_what_is_scanned_and_is_known_by_its_id(what: str, slug: str) -> None:
    assert slug_of(ID, what) == slug
    assert _ours(slug) == ID


def test_what_was_made_with_the_id_alone_is_known_and_what_others_made_is_not() -> None:
    assert _ours(f"pulsar-{ID}") == ID
    for slug in (
        None,
        "nightly",
        f"nightly-{ID}",
        f"pulsar-{ID}-x",
        f"pulsar-x{ID}",
        f"pulsar-{str(ID).upper()}",
        "pulsar-",
    ):
        assert _ours(slug) is None, slug


async def test_one_that_is_switched_keeps_its_parameters_and_one_that_is_gone_is_said_to_be() -> None:
    deployment, asked = uuid4(), []
    there = SimpleNamespace(id=uuid4(), parameters={"target": "example.com"})

    class Client:
        async def read_deployment_schedules(self, of: UUID) -> list[Any]:
            return [SimpleNamespace(id=uuid4(), parameters={}), there] if of == deployment else []

        async def update_deployment_schedule(self, *which: UUID, **said: Any) -> None:
            asked.append((which, said))

    client: Any = Client()
    await switch(client, deployment, there.id, active=False)
    assert asked == [((deployment, there.id), {"active": False, "parameters": {"target": "example.com"}})]
    with pytest.raises(NotFound, match="any more"):
        await switch(client, deployment, uuid4(), active=False)
    assert len(asked) == 1
