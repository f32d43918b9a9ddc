"""The contract of a module: a frozen record that names its pure functions. No base class, no registry to edit.

A module is one file in this package that ends in `TOOL = Tool(...)`. It is a question and a reader of the answer:

    command(batch, options) -> Command        pure: what to run, and which files to give it
    parse(output, batch)    -> records        pure: what came out, and what each target's coverage is

A module without a foreign program gives `probe` instead of the two: it asks in-process, and yields the same things.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from footprint.records import Coverage, Record

Batch = Sequence[Record]
Found = Record | Coverage


class Risk(StrEnum):
    """How much a module's target notices. `passive` sends nothing to it."""

    PASSIVE = "passive"
    SAFE = "safe"
    INTRUSIVE = "intrusive"


class Ending(StrEnum):
    """How a process ended."""

    EXITED = "exited"
    TIMED_OUT = "timed_out"
    KILLED = "killed"
    CAPPED = "capped"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Command:
    """What to run: an argument list, and the files it reads (by bare name, in the directory it is started in)."""

    argv: tuple[str, ...]
    files: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Output:
    """What a process left behind. `stdout` is capped, decoded with replacement; `stderr` is its cleaned tail."""

    stdout: str
    stderr: str = ""
    returncode: int | None = 0
    ending: Ending = Ending.EXITED
    seconds: float = 0.0

    @property
    def is_complete(self) -> bool:
        """False where the process was cut off: half an output never closes or removes anything."""
        return self.ending is Ending.EXITED


@dataclass(frozen=True, slots=True)
class Pace:
    """What every module maps to its own options: intensity 0-5, seconds a unit may take, ports to look at.

    `own_ports` are ports of loopback that are there only because this scan is: not to be looked at.
    """

    intensity: int
    unit_timeout: int
    ports: str
    own_ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Powers:
    """What the launcher may do on this worker. `reason` says why raw sockets are not to be had."""

    raw_sockets: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Degradation:
    """A lesser way was taken: what was wanted, what was done, and why."""

    wanted: str
    got: str
    reason: str

    def __str__(self) -> str:
        return f"{self.got} instead of {self.wanted}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Intake:
    """One kind of record a module accepts, and how many make a unit.

    Records of one `key` travel together and count as one of `batch`; records of different `lane` never share a
    unit (address families, say).
    """

    record: type
    batch: int
    key: Callable[[Any], Hashable]
    lane: Callable[[Any], str] = field(default=lambda record: "")


@dataclass(frozen=True, slots=True)
class Binary:
    """A foreign program: known by what its version call prints, not by its name alone."""

    name: str
    version_argv: tuple[str, ...]
    version_pattern: re.Pattern[str]
    """Its first group is the version, dotted numbers."""
    minimum: tuple[int, ...]
    install: str
    """What an operator types to get it."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A module: what it eats, makes, needs and risks, and the functions that do it."""

    name: str
    summary: str
    risk: Risk
    accepts: tuple[Intake, ...]
    produces: tuple[type, ...]
    options: type[BaseModel]
    configure: Callable[[dict[str, Any], Pace], Any]
    """The policy's options for this module, bounded, completed with what its intensity means here."""
    binary: Binary | None = None
    command: Callable[[Batch, Any], Command] | None = None
    parse: Callable[[Output, Batch], Iterator[Found]] | None = None
    progress: Callable[[str], float | None] | None = None
    """The last percentage (0-100) that a piece of the tool's output tells of, or None."""
    degrade: Callable[[Any, Powers], tuple[Any, Degradation | None]] | None = None
    """Options that these powers allow, and what was given up for it."""
    exclude_flag: str | None = None
    """The option by which the tool takes a file of networks that it must not touch."""
    probe: Callable[[Batch, Any, Asking], Iterator[Found]] | None = None

    def intake_of(self, record: Record) -> Intake | None:
        """The intake that takes this record, or None where the module does not accept its kind."""
        return next((intake for intake in self.accepts if isinstance(record, intake.record)), None)


@dataclass(frozen=True, slots=True)
class Asking:
    """What an in-process module is given: name servers, when to give up, and whether the scan was stopped."""

    resolvers: tuple[str, ...]
    deadline: float
    """On `time.monotonic()`'s clock."""
    is_stopped: Callable[[], bool]
    report: Callable[[float], None]
    """Takes the percentage done, 0-100."""
