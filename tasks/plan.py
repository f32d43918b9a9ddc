"""What is said of a scan before it is asked for: amounts, commands, and what each module waits for."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tasks.effort import Sends
from tasks.tool import Risk


class When(StrEnum):
    """Whether a module has anything to do: with the target itself, with what is found, or not at all."""

    AT_ONCE = "at_once"
    LATER = "later"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class File:
    """A file that a command is given, and how many lines it has."""

    name: str
    lines: int


@dataclass(frozen=True, slots=True)
class Run:
    """One unit: its command as the scan's record would have it, its files, the first of its records, how many."""

    command: str
    files: tuple[File, ...]
    subjects: tuple[str, ...]
    records: int


@dataclass(frozen=True, slots=True)
class Amount:
    """How much of what: from the least to the most (None where nobody knows beforehand)."""

    sends: Sends
    to_target: bool
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Need:
    """A kind of record that a module takes once others have found it, and what each costs.

    `such_as` names the services that it chooses; `at_most` is how many there can be, where that is known. `seconds`
    are the least for each of many at one destination.
    """

    kind: str
    such_as: tuple[str, ...]
    found_by: tuple[str, ...]
    at_most: int | None
    sends: Sends
    least: int
    most: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Step:
    """One module of the policy. Amounts and seconds are of what it does at once; `rate` is of one unit, a second.

    `why` says why it has nothing to do, `lacking` what it lacks on this machine, `without_raw_sockets` what a worker
    that has none would do instead.
    """

    module: str
    risk: Risk
    when: When
    why: str
    lacking: str
    without_raw_sockets: str
    units: int
    records: int
    sends: Sends
    least: int
    most: int | None
    rate: float | None
    seconds: float
    runs: tuple[Run, ...]
    needs: tuple[Need, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """What a scan would do. `addresses` are those of a network that would be looked at; `seconds` are the least.

    The least is what units take by themselves, and what the policy's concurrency, the places of their tools and the
    budgets of their destinations let them. `totals` and `seconds` are of what is done at once: what follows depends on
    what is found.
    """

    target: str
    kind: str
    policy: str
    ports: str
    addresses: int | None
    left_out: tuple[str, ...]
    steps: tuple[Step, ...]
    totals: tuple[Amount, ...]
    seconds: float
    remarks: tuple[str, ...]
