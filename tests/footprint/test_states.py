"""The table between Prefect's states and the API's statuses."""

from __future__ import annotations

import pytest
from prefect.client.schemas.objects import StateType
from prefect.states import AwaitingRetry, Cancelling, Crashed, Late, Retrying, Running, Scheduled, State

from footprint.states import LIVE, STATUS_OF_PREFECT_TYPE, TERMINAL, Status, status_of


def test_every_type_of_prefect_has_a_status() -> None:
    assert set(STATUS_OF_PREFECT_TYPE) == {kind.value for kind in StateType}


def test_what_is_terminal_there_is_terminal_here() -> None:
    for kind in StateType:
        assert STATUS_OF_PREFECT_TYPE[kind.value].is_terminal == State(type=kind).is_final()
    assert TERMINAL.isdisjoint(LIVE)


@pytest.mark.parametrize(
    ("state", "started", "expected"),
    [
        (Scheduled(), False, Status.PENDING),
        (Late(), False, Status.PENDING),
        (Running(), True, Status.STARTED),
        (Cancelling(), True, Status.STARTED),
        (AwaitingRetry(), True, Status.RETRY),
        (Retrying(), True, Status.RETRY),
        (AwaitingRetry(), False, Status.PENDING),
        (Crashed(), True, Status.FAILURE),
    ],
)
def test_states_by_name(state: State, started: bool, expected: Status) -> None:
    assert status_of(state.type.value, state.name or "", started=started) is expected
