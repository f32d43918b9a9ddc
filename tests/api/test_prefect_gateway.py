"""What the API asks of Prefect where that is more than one call."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from api.prefect import CHANGES_AT_ONCE, PrefectGateway


async def test_many_runs_are_cancelled_in_pieces_and_none_after_one_that_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[UUID]] = []
    failing: list[int] = [1]

    async def some(self: PrefectGateway, ids: list[UUID]) -> list[UUID]:
        asked.append(ids)
        return ids if len(asked) - 1 in failing else []

    monkeypatch.setattr(PrefectGateway, "_cancel_some", some)
    gateway = PrefectGateway.__new__(PrefectGateway)
    runs = [uuid4() for _ in range(3 * CHANGES_AT_ONCE)]
    left = await gateway.cancel_all(runs)
    assert (left, len(asked)) == (runs[CHANGES_AT_ONCE:], 2)
    failing.clear()
    assert await gateway.cancel_all(left) == []
    assert [run for piece in asked for run in piece] == [*runs[: 2 * CHANGES_AT_ONCE], *left]
