"""What an nmap report says of the targets it was asked about: the records found, and what became of each target.

Only what belongs to a target of the batch is taken from a report, and nothing is taken for looked at that the report
does not say so of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from footprint.errors import NotPrivileged, OutputNotUnderstood, OutputTruncated, ToolCrashed
from footprint.records import SAMPLE, Coverage, Finding, Host, Outcome, Service, Technology, subject_of
from footprint.text import clean
from tasks.nmap_meanings import about_host, about_port
from tasks.nmap_xml import Port, Report, SeenHost, read
from tasks.tool import Batch, Found, Output

TARPIT_PORTS = 200
"""A host with more open ports than this answers on any: what it says is noise."""
TARPIT_KEPT = 20
LIKELY = 90
"""Per cent of certainty under which a guess of an operating system is none."""
GUESSES_NAMED = 3
SLOW = "over the host time-out: open, but this host's services are too slow in saying what they are"
WORDS = {"open|filtered": "without an answer (open or filtered)"}
"""States that nmap says less clearly."""

Judgement = tuple[Outcome, str]


def report_of(output: Output) -> Report:
    """Read what nmap wrote, whole or cut off.

    Raises `OutputNotUnderstood`, or where nmap gave up before it finished any host `NotPrivileged` or `ToolCrashed`.
    """
    if not output.stdout.strip():
        raise OutputNotUnderstood("nmap: it wrote nothing", hint=clean(output.stderr, 200))
    report = read(output.stdout)
    if report.error and not report.hosts:
        if "raw socket" in report.error:
            hint = "raw sockets need root or CAP_NET_RAW on this worker"
            raise NotPrivileged(f"nmap: it may not do what was asked: {report.error}", hint=hint)
        raise ToolCrashed(f"nmap: it gave up: {report.error}")
    return report


def parse(output: Output, batch: Batch) -> Iterator[Found]:
    """What a question about TCP found at the hosts or services of a batch. Raises as `answers` does."""
    return answers(output, batch, "tcp")


def parse_udp(output: Output, batch: Batch) -> Iterator[Found]:
    """What a question about UDP found at the hosts or services of a batch. Raises as `answers` does."""
    return answers(output, batch, "udp")


def answers(output: Output, batch: Batch, protocol: str) -> Iterator[Found]:
    """What was found at the targets of a batch, and exactly one coverage for each of them.

    Raises as `report_of` does, and at the end `ToolCrashed` where nmap gave up on the way, or `OutputTruncated` where
    it ended by itself and its report is not whole.
    """
    report = report_of(output)
    seen = {address: host for host in report.hosts for address in host.addresses}
    yield from _of_each(batch, report, seen, protocol)
    yield from _of_whole_hosts(batch, seen)
    if report.error:
        raise ToolCrashed(f"nmap: it gave up: {report.error}", hint="what was finished before counts")
    if output.is_complete and not report.is_complete:
        raise OutputTruncated("nmap: its report ends in the middle", hint="is the disk full? what was finished counts")


def _of_each(batch: Batch, report: Report, seen: dict[str, SeenHost], protocol: str) -> Iterator[Found]:
    asked = len({record.address for record in batch if isinstance(record, Host | Service)})
    for record in batch:
        match record:
            case Host(address=address) if host := seen.get(address):
                yield from _swept(record, host, protocol)
            case Service(address=address) if host := seen.get(address):
                yield from _recognised(record, host, protocol)
            case Host(address=address) | Service(address=address):
                yield Coverage(subject_of(record), *_unseen(address, report, asked))


def _swept(target: Host, host: SeenHost, protocol: str) -> Iterator[Found]:
    found = host.open_ports(protocol)
    kept = found if len(found) <= TARPIT_PORTS else found[:TARPIT_KEPT]
    outcome, note = _judged(host)
    if kept or outcome is Outcome.ANSWERED:
        yield target
    services = (_service(target.address, port) for port in kept)
    yield from (services if len(kept) == len(found) else (replace(one, detail=SAMPLE) for one in services))
    if len(kept) < len(found):
        outcome, note = Outcome.SAMPLED, f"{len(found)} open ports, {len(kept)} kept: it seems to answer on any"
    yield Coverage(target.address, outcome, note)


def _recognised(target: Service, host: SeenHost, protocol: str) -> Iterator[Found]:
    subject = subject_of(target)
    port = next((port for port in host.ports if (port.number, port.protocol) == (target.port, target.protocol)), None)
    if port and port.state == "open":
        yield _service(target.address, port)
        yield from about_port(port, subject)
        yield Coverage(subject, Outcome.ANSWERED, "" if port.name else "open, but it does not say what it is")
    elif host.timed_out:
        yield Coverage(subject, Outcome.TIMED_OUT, SLOW)
    elif target.protocol != protocol:
        yield Coverage(subject, Outcome.NOT_LOOKED_AT, f"only {protocol.upper()} ports are asked")
    else:
        now = f": {WORDS.get(port.state, port.state)} now" if port else ""
        yield Coverage(subject, Outcome.SILENT, f"no longer open{now}")


def _of_whole_hosts(batch: Batch, seen: dict[str, SeenHost]) -> Iterator[Host | Technology | Finding]:
    """What is said of hosts whose services were asked about, and of none of these alone."""
    services: dict[str, list[Service]] = {}
    for record in batch:
        if isinstance(record, Service) and record.address in seen:
            services.setdefault(record.address, []).append(record)
    for address, group in services.items():
        host = seen[address]
        if guess := _guess(host):
            yield Host(address, os=guess)
        yield from about_host(host, {service.port: subject_of(service) for service in group})


def _guess(host: SeenHost) -> str | None:
    """What it most likely runs on, and with which certainty; None where that is too little."""
    best = max((accuracy for _, accuracy in host.guesses), default=0)
    if best < LIKELY:
        return None
    names = [name for name, accuracy in host.guesses if accuracy == best]
    return f"{' or '.join(names[:GUESSES_NAMED])} ({best} %)"


def _judged(host: SeenHost) -> Judgement:
    if host.timed_out:
        return Outcome.TIMED_OUT, "over the host time-out: raise unit_timeout or max_rate, or ask for fewer ports"
    if not host.is_up:
        return Outcome.SILENT, "down"
    counts = host.tally()
    states = Counter[str]()
    for (state, _), count in counts.items():
        states[state] += count
    if states["open"] or states["closed"]:
        return Outcome.ANSWERED, ", ".join(
            f"{count} {WORDS.get(state, state)}" for state, count in states.most_common()
        )
    said = ((count, WORDS.get(state, f"{state} ({why})")) for (state, why), count in counts.most_common())
    return Outcome.SILENT, ", ".join(f"{count} {words}" for count, words in said)


def _unseen(address: str, report: Report, asked: int) -> Judgement:
    """Of a target that the report does not list: whether nmap looked at it all the same."""
    if address in report.skipped:
        return Outcome.NOT_LOOKED_AT, "nmap did not take it as a target"
    if report.error:
        return Outcome.NOT_LOOKED_AT, f"nmap gave up before it was through: {report.error}"
    if not report.is_complete:
        return Outcome.NOT_LOOKED_AT, "nmap ended before it was through"
    if report.total + len(report.skipped) < asked:
        return Outcome.NOT_LOOKED_AT, "nmap did not take it as a target"
    # nmap lists a host that is down only when verbose; on its own network it asks with ARP or ND even after -Pn.
    return Outcome.SILENT, "down"


def _service(address: str, port: Port) -> Service:
    return Service(
        address=address,
        port=port.number,
        protocol=port.protocol,
        name=port.name,
        product=port.product,
        version=port.version,
        detail=port.detail,
        tunnel=port.tunnel,
        cpes=port.cpes,
    )
