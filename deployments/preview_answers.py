"""What the API says of a scan that is not asked for yet, as far as the `pulsar` command reads it."""

from __future__ import annotations

from deployments.answers import Answer


class Amount(Answer):
    """How much of what is sent; `most` is None where nobody knows beforehand."""

    sends: str
    to_target: bool
    least: int
    most: int | None = None


class Need(Answer):
    """A kind of record that a module waits for, and what each costs."""

    kind: str
    such_as: tuple[str, ...] = ()
    found_by: tuple[str, ...] = ()
    at_most: int | None = None
    sends: str
    least: int
    most: int | None = None
    seconds: float = 0.0


class Run(Answer):
    """One unit's command and what it is about."""

    command: str = ""
    subjects: tuple[str, ...] = ()
    records: int = 0


class Step(Answer):
    """One module: when it has something to do, what it does at once, what it waits for."""

    module: str
    risk: str
    when: str
    why: str = ""
    lacking: str = ""
    without_raw_sockets: str = ""
    units: int = 0
    records: int = 0
    sends: str
    least: int = 0
    most: int | None = None
    rate: float | None = None
    seconds: float = 0.0
    runs: tuple[Run, ...] = ()
    needs: tuple[Need, ...] = ()


class Preview(Answer):
    """What a scan would do; `seconds` are the least."""

    target: str
    policy: str
    ports: str = ""
    addresses: int | None = None
    left_out: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    totals: tuple[Amount, ...] = ()
    seconds: float = 0.0
    remarks: tuple[str, ...] = ()
