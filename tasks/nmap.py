"""Which TCP ports of addresses are open, what answers there, and what it runs on.

Two questions, each its own call: which ports are open (hosts), what speaks on them (services). The ports come first
and versions are asked of open ones only, since a version takes seconds of waiting and a port takes none. Scripts run,
and the operating system is guessed, with the second question: both wait for answers, as it does.

Needs raw sockets (root, or CAP_NET_RAW with `--privileged`) for SYN scans and the guess; without it connects.
nmap exits 0 for hosts that timed out, for targets it did not take and for hosts that are down: see nmap_answers.py.
`--open` is not used: with it, a host whose every port is closed is not in the report at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from footprint.budget import Load
from footprint.errors import OutputNotUnderstood
from footprint.records import SAMPLE, Finding, Host, Service, Technology
from footprint.scope import Scope
from footprint.text import clean
from tasks.effort import Effort
from tasks.nmap_answers import parse
from tasks.nmap_call import NMAP, Aim, aims_of, are_local, asking, family_of, march, progress, recognising
from tasks.nmap_effort import effort_of
from tasks.nmap_load import at_rate, load_of_question, packets_a_service
from tasks.nmap_options import NmapOptions, configure, port_count, ports_asked
from tasks.nmap_scripts import risk_of, running
from tasks.nmap_xml import read
from tasks.tool import Batch, Command, Degradation, Intake, Output, Powers, Risk, Tool

OS_GUESS = ("-O", "--osscan-limit", "--max-os-tries", "1")
"""One try is 2 s for a group of 20 hosts, the five that are usual are 13 s and guess no better."""
CLOSED_PORT = 1
"""A guess takes an open and a closed port, and here only open ones are asked: tcpmux is closed nearly everywhere."""


def command(batch: Batch, options: NmapOptions) -> Command:
    """Ask of hosts which ports are open, of services what they are; a batch is of one kind.

    Targets travel in a file. Raises `InvalidTarget` for a record that is no address.
    """
    aims = aims_of(batch)
    asked = recognising(options, len(batch)) if isinstance(batch[0], Service) else options
    return asking(aims, _question(batch, aims, asked), asked)


def _question(batch: Batch, aims: Sequence[Aim], options: NmapOptions) -> tuple[str, ...]:
    is_local = are_local(aims)
    raw, scan = ("--privileged", "-sS") if options.technique == "syn" else ("--unprivileged", "-sT")
    retries = ("--max-retries", str(options.max_retries))
    asked, count = _asked_ports(batch, options, is_local=is_local)
    own = ("--exclude-ports", ",".join(map(str, options.own_ports))) if is_local and options.own_ports else ()
    return (raw, "-Pn", scan, *asked, *own, *retries, *march(len(aims), count, options, is_local=is_local))


def _asked_ports(batch: Batch, options: NmapOptions, *, is_local: bool) -> tuple[tuple[str, ...], int]:
    """What is asked, of which ports, and how many those are."""
    found = {record.port for record in batch if isinstance(record, Service)}
    if not found:
        return ports_asked(options.ports)
    guess: tuple[str, ...] = ()
    if options.os_guess and options.technique == "syn" and not is_local:
        guess = OS_GUESS
        found.add(CLOSED_PORT)
    versions = ("-sV", "--version-intensity", str(options.version_intensity))
    union = ",".join(map(str, sorted(found)))
    return (*versions, *running("tcp", options.scripts), *guess, "-p", union), len(found)


def effort(batch: Batch, options: NmapOptions, scope: Scope) -> Effort:
    """Packets: of hosts by their ports, of services by how long nmap guesses, and what scripts ask besides."""
    guesses = options.os_guess and options.technique == "syn"
    return effort_of(batch, port_count(options.ports), options, has_scripts=bool(options.scripts), guesses=guesses)


def load(batch: Batch, options: NmapOptions) -> Load:
    """What a unit sends one destination; an option below what the intensity means wants less."""
    a_service = packets_a_service(options.version_intensity, has_scripts=bool(options.scripts))
    return load_of_question(batch, port_count(options.ports), options.max_rate, a_service)


def degrade(options: NmapOptions, powers: Powers) -> tuple[NmapOptions, Degradation | None]:
    """Connect where raw sockets are not to be had; there is no guess of the operating system then."""
    if powers.raw_sockets or options.technique == "connect":
        return options, None
    lesser = options.model_copy(update={"technique": "connect", "os_guess": False})
    reason = powers.reason or "raw sockets are not to be had"
    if options.os_guess:
        return lesser, Degradation("SYN scan and OS guess", "connect scan and no OS guess", reason)
    return lesser, Degradation("SYN scan", "connect scan", reason)


def powers_probe() -> Command:
    """What to run, with the launcher that scans use, to learn whether raw sockets are to be had; takes 0.1 s."""
    asked = ("-n", "-Pn", "-sS", "-p", "9", "--max-retries", "0", "--host-timeout", "5s", "127.0.0.1")
    return Command(("nmap", "--privileged", *asked, "-oX", "-"))


def powers_of(output: Output) -> Powers:
    """Read the answer to `powers_probe`. `--privileged` makes nmap claim a SYN scan: only a reply proves one."""
    try:
        report = read(output.stdout)
    except OutputNotUnderstood as error:
        return Powers(raw_sockets=False, reason=clean(output.stderr, 200) or error.detail)
    states = {state for host in report.hosts for state, _ in host.tally()}
    if report.scan_type == "syn" and states & {"open", "closed"}:
        return Powers(raw_sockets=True)
    return Powers(raw_sockets=False, reason=report.error or "nmap got no reply to a SYN on loopback")


TOOL = Tool(
    name="nmap",
    summary="Finds open TCP ports, the product and version that answers there, and what it runs on.",
    risk=Risk.SAFE,
    accepts=(
        Intake(Host, batch=64, key=lambda host: host.address, lane=family_of),
        Intake(
            Service,
            batch=8,
            key=lambda service: service.address,
            lane=family_of,
            where=lambda service: service.protocol == "tcp" and service.detail != SAMPLE,
        ),
    ),
    produces=(Host, Service, Technology, Finding),
    options=NmapOptions,
    configure=configure,
    effort=effort,
    binary=NMAP,
    command=command,
    parse=parse,
    progress=progress,
    degrade=degrade,
    load=load,
    at_rate=at_rate,
    exclude_flag="--excludefile",
    risk_with=lambda options: risk_of("tcp", options.scripts),
)
