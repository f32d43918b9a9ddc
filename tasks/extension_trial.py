"""One run of one extension for one record: in the sandbox, behind a fence where it has a network, and what came out."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

from footprint.errors import (
    OutputTooLarge,
    ScanStopped,
    StrayedOutOfScope,
    ToolCrashed,
    ToolKilled,
    ToolTimedOut,
    UnitError,
)
from footprint.extensions import Extension
from footprint.records import Record
from footprint.text import clean
from tasks.extension_answers import Given, Reading, read_output
from tasks.extension_reach import Reach
from tasks.fence import Fence
from tasks.fence_rules import Strays
from tasks.runner import Limits
from tasks.sandbox import OUTPUT_CAP, Held, Script, run_script
from tasks.tool import Ending


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of one extension. `error` says how it failed, None where it ended well; `asides` what else there is."""

    name: str
    held: Held
    reading: Reading
    error: UnitError | None
    asides: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said of it besides its findings."""
        failed = (self.error.detail,) if self.error else ()
        return (*failed, *self.asides, *(f"{self.name}: {mistake}" for mistake in self.reading.mistakes))


def try_extension(
    extension: Extension, record: Record, given: Given, limits: Limits, memory: int, reach: Reach | None = None
) -> Trial:
    """Run an extension for one record, in `memory` MiB; it sends to what is in its reach, and without one nothing.

    Raises `SandboxMissing`, and `FenceMissing` where it cannot be held to its reach.
    """
    manifest, name = extension.manifest, extension.name
    script = Script(manifest.script, extension.text, manifest.interpreter)
    given = given.reaching(reach.addresses) if reach else given
    with reach.fenced(limits.work_dir) if reach else nullcontext(Fence()) as fence:
        held = run_script(script, given.stdin, given.environment, limits, memory, fence if reach else None)
    failed, strayed = _error_of(name, held, limits.seconds), _strayed(name, fence.strays)
    reading = read_output(held.output.stdout, manifest, record, ended_well=failed is None)
    asides = ((strayed.detail,) if strayed and failed else (), _slowed(name, fence.strays, reach))
    return Trial(name, held, reading, failed or strayed, tuple(said for each in asides for said in each))


def _strayed(name: str, strays: Strays) -> StrayedOutOfScope | None:
    if not strays.packets:
        return None
    named = f" ({', '.join(strays.addresses)})" if strays.addresses else ""
    return StrayedOutOfScope(
        f"{name}: sent {strays.packets} packets to what is not its record's{named}; the fence stopped them",
        hint="read its script",
    )


def _slowed(name: str, strays: Strays, reach: Reach | None) -> tuple[str, ...]:
    if not strays.slowed or not reach:
        return ()
    return (f"{name}: {strays.slowed} packets were dropped, as it sent more than {reach.rate} a second",)


def _error_of(name: str, held: Held, seconds: float) -> UnitError | None:
    output = held.output
    if held.exceeded:
        return ToolKilled(f"{name}: ended, as it {held.exceeded}", hint="its manifest sets `memory`")
    if output.ending is Ending.STOPPED:
        return ScanStopped(f"{name}: the scan was stopped")
    if output.ending is Ending.CAPPED:
        return OutputTooLarge(f"{name}: wrote more than {OUTPUT_CAP // 1024} KiB, and was cut off")
    # What is deaf to SIGTERM is killed, and then its code says that and no more.
    if output.ending is Ending.TIMED_OUT or (output.ending is Ending.KILLED and output.seconds >= seconds):
        return ToolTimedOut(f"{name}: stopped after {seconds:g} s, its time limit", hint="its manifest sets `timeout`")
    if output.ending is Ending.KILLED:
        return ToolKilled(f"{name}: ended by a signal (code {output.returncode})")
    if output.returncode:
        last = clean(next(iter(output.stderr.strip().splitlines()[-1:]), ""), 200)
        return ToolCrashed(f"{name}: ended with code {output.returncode}{f': {last}' if last else ''}")
    return None
