"""What this worker can do: which tools are installed, of which version, with which powers, and what to do about it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from footprint.errors import InstallationError, ToolMissing, ToolTooOld
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.quarantine import checks_of
from tasks import nmap
from tasks.catalogue import catalogue
from tasks.fence import check_fence, fence_around, unable
from tasks.quarantine import machine
from tasks.quarantine import remedy as remedy_for
from tasks.runner import Limits, containment, run, search_path
from tasks.tool import Binary, Command, Powers, Risk, Tool

INSPECTION_SECONDS = 15


@dataclass(frozen=True, slots=True)
class ModuleState:
    """One module on this worker. `state` is ready, degraded, missing, too_old or quarantined.

    `privileged` is None if not needed.

    `fence` is on or off, and None where there is nothing to fence: passive modules, and those that ask in-process.
    """

    name: str
    summary: str
    risk: str
    installed: bool
    version: str | None
    state: str
    privileged: bool | None
    remedy: str
    fence: str | None


@cache
def version_of(binary: Binary, work_dir: Path) -> str:
    """The version a program prints of itself. Raises `ToolMissing` or `ToolTooOld`, each with the remedy."""
    if shutil.which(binary.name, path=search_path()) is None:
        raise ToolMissing(f"{binary.name}: not installed on this worker", hint=binary.install)
    output = run(Command(binary.version_argv), Limits(INSPECTION_SECONDS, work_dir))
    match = binary.version_pattern.search(output.stdout + output.stderr)
    if match is None:
        raise ToolMissing(f"{binary.name}: a program of that name is here, but it is another", hint=binary.install)
    version = match.group(1)
    if _numbers(version) < binary.minimum:
        least = ".".join(str(part) for part in binary.minimum)
        raise ToolTooOld(f"{binary.name}: version {version} is older than {least}", hint=binary.install)
    return version


@cache
def _check_behind_fence(module: str, binary: Binary, work_dir: Path) -> None:
    """Have a program tell its version as a fenced unit starts it. Raises `FenceMissing` where it cannot."""
    with fence_around((), (), work_dir) as fence:
        output = run(Command(binary.version_argv), Limits(INSPECTION_SECONDS, work_dir, uid=fence.uid))
    fence.check_start(module, output)
    if not binary.version_pattern.search(output.stdout + output.stderr):
        raise unable(module, output)


def untried_version(binary: Binary, version: str) -> str:
    """What is to be said of a version that is newer than those that were tried; empty where it is not."""
    if binary.below is None or _numbers(version) < binary.below:
        return ""
    tried = ".".join(str(part) for part in binary.below)
    return f"{binary.name} {version} is newer than what was tried (before {tried}): read its results with care"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


@cache
def powers(work_dir: Path) -> Powers:
    """Whether raw sockets are to be had, asked of the kernel by the very launcher that scans use.

    It takes nmap to ask; without it the answer is no.
    """
    if shutil.which("nmap", path=search_path()) is None:
        return Powers(raw_sockets=False, reason="nmap, which is needed to ask, is not installed")
    return nmap.powers_of(run(nmap.powers_probe(), Limits(INSPECTION_SECONDS, work_dir)))


def inspect_modules(settings: Settings, store: Store | None = None) -> list[ModuleState]:
    """Look at every module of the catalogue, as it would be run here."""
    held = _quarantined(store) if store else {}
    return [
        replace(state, state="quarantined", remedy=f"{held[state.name]} ({remedy_for(state.name)})")
        if state.installed and state.name in held
        else state
        for state in (_inspect(tool.here(settings), settings, store) for tool in catalogue().values())
    ]


def _quarantined(store: Store) -> dict[str, str]:
    with store.read() as session:
        return {check.module: check.said for check in checks_of(session, machine()) if check.quarantined_at}


def _is_fenced(tool: Tool) -> bool:
    return tool.binary is not None and tool.risk is not Risk.PASSIVE


def _inspect(tool: Tool, settings: Settings, store: Store | None) -> ModuleState:
    fence = ("on" if settings.fence else "off") if _is_fenced(tool) else None
    return replace(_inspect_tool(tool, settings, store), fence=fence)


def _inspect_tool(tool: Tool, settings: Settings, store: Store | None) -> ModuleState:
    work_dir = settings.work_dir
    try:
        if tool.check:
            tool.check(settings, store)
        if tool.binary is None:
            lesser = tool.reduced(settings) if tool.reduced else ""
            return _state(tool, None, "degraded" if lesser else "ready", remedy=lesser)
        version = version_of(tool.binary, work_dir)
        contained = containment()
        if settings.fence and _is_fenced(tool):
            check_fence(work_dir)
            _check_behind_fence(tool.name, tool.binary, work_dir)
    except InstallationError as error:
        state = "too_old" if isinstance(error, ToolTooOld) else "missing"
        return _state(tool, None, state, remedy=str(error))
    if tool.degrade and not (granted := powers(work_dir)).raw_sockets:
        remedy = f"run the worker as root, or with ambient CAP_NET_RAW and CAP_NET_ADMIN: {granted.reason}"
        return _state(tool, version, "degraded", privileged=False, remedy=remedy)
    remedy = "" if contained == "bubblewrap" else f"apt-get install bubblewrap: contained by {contained} only"
    if untried := untried_version(tool.binary, version):
        return _state(tool, version, "degraded", remedy=untried)
    return _state(tool, version, "ready", privileged=True if tool.degrade else None, remedy=remedy)


def _state(
    tool: Tool, version: str | None, state: str, *, privileged: bool | None = None, remedy: str = ""
) -> ModuleState:
    installed = state in ("ready", "degraded", "too_old")
    return ModuleState(tool.name, tool.summary, tool.risk, installed, version, state, privileged, remedy, fence=None)
