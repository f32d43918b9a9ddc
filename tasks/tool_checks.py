"""Checks of installed tools: each is run as scans run it, on a server of ours whose answers are known.

A tool whose report no longer says what is there, or cannot be read, has changed: an update may do that, and its scans
would say that things are gone. What sends to networks or to the public cannot be tried here, and is said not to be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

from footprint.admission import scope_of
from footprint.errors import InstallationError, OutputNotUnderstood
from footprint.held_directories import held_directory
from footprint.policy import ScanPolicy
from footprint.records import (
    Certificate,
    Endpoint,
    Finding,
    Host,
    Network,
    Record,
    Service,
    Technology,
    WebPage,
    subject_of,
)
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.quarantine import Checked, Outcome, note_check
from footprint.store.units import Settlement, Unit
from footprint.verdict import UnitStatus
from tasks import decoys
from tasks.catalogue import catalogue
from tasks.decoys import HERE, Decoy, HttpDecoy, SshDecoy, TlsDecoy
from tasks.inspection import version_of
from tasks.quarantine import machine
from tasks.tool import Tool
from tasks.unit import Circumstances, carry_out

SECONDS = 60
TRIES = 2
"""A tool is not called changed for what went wrong once."""
CHECK_DIRECTORY = "check-"


@dataclass(frozen=True, slots=True)
class Trial:
    """One question to a module: which decoy it is asked about, and what of its answer must be there."""

    module: str
    decoy: Callable[[Path], Decoy]
    target: Callable[[int], Record]
    """What the module is given, by the decoy's port."""
    expected: frozenset[str]
    """As `told` puts it, with `*` for the decoy's port."""
    options: dict[str, Any] = field(default_factory=dict)


TRIALS = (
    Trial("nmap", lambda at: SshDecoy(), lambda port: Host(HERE), frozenset({f"service {HERE}:*/tcp None None None"})),
    Trial(
        "nmap",
        lambda at: SshDecoy(),
        lambda port: Service(HERE, port),
        frozenset({f"service {HERE}:*/tcp ssh OpenSSH 9.2p1 Debian 2+deb12u2"}),
    ),
    Trial("nmap_discovery", lambda at: SshDecoy(), lambda port: Network(f"{HERE}/32"), frozenset({f"host {HERE}"})),
    Trial(
        "ssh_audit",
        lambda at: SshDecoy(),
        lambda port: Service(HERE, port, name="ssh"),
        frozenset(
            {
                "technology OpenSSH 9.2p1",
                "finding ssh_audit/weak-key-exchange",
                "finding ssh_audit/weak-cipher",
                "finding ssh_audit/weak-mac",
            }
        ),
    ),
    Trial(
        "whatweb",
        lambda at: HttpDecoy(),
        lambda port: Endpoint(HERE, port, None, "http"),
        frozenset({"technology nginx 1.22.1", "technology WordPress 6.1.1"}),
    ),
    Trial(
        "http_probe",
        lambda at: HttpDecoy(),
        lambda port: Endpoint(HERE, port, None, "http"),
        frozenset({f"page http://{HERE}:*/ 200 {decoys.TITLE}", "finding http_probe/server-version"}),
    ),
    Trial(
        "tls",
        TlsDecoy,
        lambda port: Endpoint(HERE, port, decoys.NAME, "https", "ssl"),
        frozenset({f"certificate CN={decoys.NAME}", "finding tls/expired", "finding tls/self-signed"}),
    ),
)
"""What is known of answers on loopback. Weaknesses of the decoys are on purpose."""
NOT_TRIED = {
    "amass": "it asks public services",
    "nuclei": "what it says is its templates'",
    "nmap_udp": "silence is an answer there, and nothing is compared",
    "zmap": "it sends through a gateway, and loopback has none",
}
"""Modules with a program that is started for its version only, and why."""


def check_tools(settings: Settings, store: Store) -> list[Checked]:
    """Check every module that has a program, or a trial, and keep what came of it; the changed are quarantined."""
    found = [check_tool(tool, settings) for tool in catalogue().values() if _is_checked(tool)]
    with store.write() as session:
        for checked in found:
            note_check(session, machine(), checked)
    return found


def _is_checked(tool: Tool) -> bool:
    return tool.binary is not None or any(trial.module == tool.name for trial in TRIALS)


def check_tool(tool: Tool, settings: Settings) -> Checked:
    """Run a module's tool on what is known, and compare."""
    version = None
    try:
        if tool.binary is not None:
            version = version_of(tool.binary, settings.work_dir)
        if tool.check:
            tool.check(settings, None)
    except InstallationError as lacking:
        return Checked(tool.name, Outcome.NOT_CHECKED, str(lacking), version)
    trials = [trial for trial in TRIALS if trial.module == tool.name]
    if not trials:
        why = NOT_TRIED.get(tool.name, "nothing is known to compare it with")
        return Checked(tool.name, Outcome.NOT_CHECKED, f"only started: {why}", version)
    for trial in trials:
        outcome, said = _insist(trial, settings)
        if outcome is not Outcome.GOOD:
            return Checked(tool.name, outcome, said, version)
    return Checked(tool.name, Outcome.GOOD, "it says what is there", version)


def _insist(trial: Trial, settings: Settings) -> tuple[Outcome, str]:
    for left in reversed(range(TRIES)):
        outcome, said = _try(trial, settings)
        if outcome is Outcome.GOOD or not left:
            break
    return outcome, said


def _try(trial: Trial, settings: Settings) -> tuple[Outcome, str]:
    try:
        with ExitStack() as stack:
            directory = stack.enter_context(held_directory(settings.work_dir, CHECK_DIRECTORY))
            decoy = stack.enter_context(trial.decoy(directory))
            settled = carry_out(*_asking(trial, decoy.port, settings, directory))
    except (OSError, ImportError) as trouble:
        return Outcome.NOT_CHECKED, f"no server could be made for it: {trouble}"
    return _judge(trial, settled, decoy.port)


def _asking(trial: Trial, port: int, settings: Settings, directory: Path) -> tuple[Unit, Circumstances]:
    own = settings.model_copy(update={"scope_allow": (*settings.scope_allow, *Settings(scope_allow=HERE).scope_allow)})
    policy = ScanPolicy(name="check", modules={trial.module: trial.options}, ports=str(port), unit_timeout=SECONDS)
    scope = scope_of(own, Host(HERE), policy)
    under = Circumstances(uuid4(), policy, scope, own, None, directory, Event(), lambda percent: None)
    return Unit(trial.module, 1, 0, (trial.target(port),)), under


def _judge(trial: Trial, settled: Settlement, port: int) -> tuple[Outcome, str]:
    if settled.error_code == OutputNotUnderstood.code:
        return Outcome.CHANGED, settled.error or "its output cannot be read"
    if settled.status not in (UnitStatus.DONE, UnitStatus.PARTIAL) or settled.error:
        return Outcome.NOT_CHECKED, settled.error or "loopback is excluded from every scan here"
    expected = {word.replace("*", str(port)) for word in trial.expected}
    said = {word for record in settled.records for word in told(record)}
    if missing := sorted(expected - said):
        kind = {word.split(" ", 1)[0] for word in missing}
        near = sorted(word for word in said if word.split(" ", 1)[0] in kind) or ["nothing"]
        return Outcome.CHANGED, f"it should say {'; '.join(missing)}, and says {'; '.join(near)}"
    return Outcome.GOOD, ""


def told(record: Record) -> Iterator[str]:
    """What is compared of a record, in words."""
    match record:
        case Service(name=name, product=product, version=version):
            yield f"service {subject_of(record)} {name} {product} {version}"
        case Host(address=address):
            yield f"host {address}"
        case Technology(name=name, version=version):
            yield f"technology {name} {version}"
        case Finding(rule=rule):
            yield f"finding {rule}"
        case WebPage(url=url, status=status, title=title):
            yield f"page {url} {status} {title}"
        case Certificate(issued_to=issued_to):
            yield f"certificate {issued_to}"
