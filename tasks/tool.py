"""The contract of a module: a frozen record that names its pure functions. No base class, no registry to edit.

A module is one file in this package that ends in `TOOL = Tool(...)`. It is a question and a reader of the answer:

    command(batch, options) -> Command        pure: what to run, and which files to give it
    parse(output, batch)    -> records        pure: what came out, and what each target's coverage is

A module without a foreign program gives `probe` instead of the two: it asks in-process, and yields the same things.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from threading import Event
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from footprint.area import Area
from footprint.budget import Allowance, Load, Share
from footprint.records import Coverage, Record
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.store import Store
from tasks.effort import Effort

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
    """What to run: an argument list, and the files it reads (by bare name, in the directory it is started in).

    `keeps` names the files that it writes there and that are read afterwards. `stop_signal` is the one that it is
    asked to end with, before SIGKILL.
    """

    argv: tuple[str, ...]
    files: dict[str, str] = field(default_factory=dict)
    keeps: tuple[str, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM


@dataclass(frozen=True, slots=True)
class Output:
    """What a process left behind. `stdout` is capped, decoded with replacement; `stderr` is its cleaned tail.

    `files` holds those of the command's `keeps` that were written, capped and decoded likewise.
    """

    stdout: str
    stderr: str = ""
    returncode: int | None = 0
    ending: Ending = Ending.EXITED
    seconds: float = 0.0
    files: dict[str, str] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """False where the process was cut off: half an output never closes or removes anything."""
        return self.ending is Ending.EXITED


@dataclass(frozen=True, slots=True)
class Pace:
    """What every module maps to its own options: intensity 0-5, seconds a unit may take, ports to look at.

    `own_ports` are ports of loopback that are there only because this scan is: not to be looked at. `budget` is in
    packets a second for one destination: what cannot be held to a rate is made to fit.
    """

    intensity: int
    unit_timeout: int
    ports: str
    own_ports: tuple[int, ...] = ()
    budget: float = float("inf")


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
    where: Callable[[Any], bool] = field(default=lambda record: True)
    """Which records of the kind it takes. One that is known better later on is asked about again."""
    roots_only: bool = False
    """True where it takes what the scan was asked for, and nothing that was found on the way."""


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
    below: tuple[int, ...] | None = None
    """The first version that was not tried: it is run all the same, and the unit says so."""
    usual: str = ""
    """The version that a preview goes by, where options depend on it: `minimum` else."""


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
    binary_with: Callable[[Any], Binary] | None = None
    """The program it runs with these options, where they change it."""
    command: Callable[[Batch, Any], Command] | None = None
    parse: Callable[[Output, Batch], Iterator[Found]] | None = None
    progress: Callable[[str], float | None] | None = None
    """The last percentage (0-100) that a piece of the tool's output tells of, or None."""
    installed: Callable[[Any, Settings, str], Any] | None = None
    """Options completed with what this installation is: its settings, and the version the program told of itself."""
    own_options: tuple[str, ...] = ()
    """Options that `installed` sets: a policy has no say in them."""
    degrade: Callable[[Any, Powers], tuple[Any, Degradation | None]] | None = None
    """Options that these powers allow, and what was given up for it."""
    exclude_flag: str | None = None
    """The option by which the tool takes a file of networks that it must not touch."""
    probe: Callable[[Batch, Any, Asking], Iterator[Found]] | None = None
    risk_with: Callable[[Any], Risk] | None = None
    """What it risks with these options, where they change it: never less than `risk`."""
    check: Callable[[Settings, Store | None], None] | None = None
    """Raises `InstallationError` where a module without a program lacks something here (a feed, a sandbox)."""
    effort: Callable[[Batch, Any, Scope], Effort] | None = None
    """What a batch costs, as far as it can be told before anything is sent."""
    load: Callable[[Batch, Any], Load] | None = None
    """What a unit sends one destination. Without it, `tasks/pacing.py` goes by the options' names, cautiously."""
    at_rate: Callable[[Any, Share], Any] | None = None
    """Options that hold a unit to its share of each destination, where its program or its code can be held."""
    counts_for: str = ""
    """The module that it looks ahead for: where that one then has nothing to look at, this one's answer will do."""
    fitted: Callable[[Tool, Settings], Tool] | None = None
    """The module as this installation has it, where what it takes, or what it risks, depends on that."""
    reduced: Callable[[Settings], str] | None = None
    """What of it is left out here, and what to do about it; empty where nothing is."""
    comes_last: bool = False
    """True where it works with all that was found: asked once nothing else of the scan waits or runs."""

    def here(self, settings: Settings) -> Tool:
        """The module as this installation has it."""
        return self.fitted(self, settings) if self.fitted else self

    def risk_of(self, options: Any) -> Risk:
        """What it risks with these options."""
        return self.risk_with(options) if self.risk_with else self.risk

    def intake_of(self, record: Record, *, is_root: bool = False) -> Intake | None:
        """The intake that takes this record, or None. `is_root`: the scan was asked for it."""
        return next(
            (
                intake
                for intake in self.accepts
                if isinstance(record, intake.record) and (is_root or not intake.roots_only) and intake.where(record)
            ),
            None,
        )


@dataclass(frozen=True, slots=True)
class Asking:
    """What an in-process module is given: what the installation is, what may be touched, and when to give up."""

    settings: Settings
    scope: Scope
    store: Store | None
    """For what is looked up in it (feeds). What was found is kept by others."""
    work_dir: Path
    scan_id: UUID | None
    stopped: Event
    """Set once the scan was stopped; `is_stopped` asks it."""
    resolvers: tuple[str, ...]
    deadline: float
    """On `time.monotonic()`'s clock."""
    report: Callable[[float], None]
    """Takes the percentage done, 0-100."""
    allowance: Allowance | None = None
    """What the policy lets one destination be sent; None where nobody has said."""
    permitted: Area | None = None
    """What may be looked at actively; None where no authorisation is needed."""

    def is_stopped(self) -> bool:
        """True once the scan was stopped."""
        return self.stopped.is_set()

    def is_over(self) -> bool:
        """True once the scan was stopped, or the unit's time is up."""
        return self.stopped.is_set() or time.monotonic() > self.deadline
