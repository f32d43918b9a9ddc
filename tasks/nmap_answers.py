"""What an nmap report says of the targets it was asked about: the records found, and what became of each target.

Only what belongs to a target of the batch is taken from a report, and nothing is taken for looked at that the report
does not say so of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from footprint.errors import OutputNotUnderstood, ToolCrashed
from footprint.records import Coverage, Host, Outcome, Service, subject_of
from footprint.text import clean
from tasks.nmap_xml import Port, Report, SeenHost, read
from tasks.tool import Batch, Found, Output

TARPIT_PORTS = 200
"""A host with more open ports than this answers on any: what it says is noise."""
TARPIT_KEPT = 20

Judgement = tuple[Outcome, str]


def report_of(output: Output) -> Report:
    """Read what nmap wrote, whole or cut off.

    Raises `OutputNotUnderstood`, or `ToolCrashed` where nmap gave up before it finished any host.
    """
    if not output.stdout.strip():
        raise OutputNotUnderstood("nmap: it wrote nothing", hint=clean(output.stderr, 200))
    report = read(output.stdout)
    if report.error and not report.hosts:
        hint = "raw sockets need root or CAP_NET_RAW on this worker" if "raw socket" in report.error else ""
        raise ToolCrashed(f"nmap: it gave up: {report.error}", hint=hint)
    return report


def parse(output: Output, batch: Batch) -> Iterator[Found]:
    """What was found at the hosts or services of a batch, and exactly one coverage for each. Raises as `report_of`."""
    report = report_of(output)
    seen = {address: host for host in report.hosts for address in host.addresses}
    asked = len({record.address for record in batch if isinstance(record, Host | Service)})
    for record in batch:
        match record:
            case Host(address=address) if host := seen.get(address):
                yield from _swept(record, host)
            case Service(address=address) if host := seen.get(address):
                yield from _recognised(record, host)
            case Host(address=address) | Service(address=address):
                yield Coverage(subject_of(record), *_unseen(address, report, asked))


def _swept(target: Host, host: SeenHost) -> Iterator[Found]:
    found = host.open_ports()
    kept = found if len(found) <= TARPIT_PORTS else found[:TARPIT_KEPT]
    outcome, note = _judged(host)
    if kept or outcome is Outcome.ANSWERED:
        yield target
    yield from (_service(target.address, port) for port in kept)
    if len(kept) < len(found):
        outcome, note = Outcome.SAMPLED, f"{len(found)} open ports, {len(kept)} kept: it seems to answer on any"
    yield Coverage(target.address, outcome, note)


def _recognised(target: Service, host: SeenHost) -> Iterator[Found]:
    subject = subject_of(target)
    port = next((port for port in host.ports if (port.number, port.protocol) == (target.port, target.protocol)), None)
    if port and port.state == "open":
        yield _service(target.address, port)
        yield Coverage(subject, Outcome.ANSWERED, "" if port.name else "open, but it does not say what it is")
    elif host.timed_out:
        yield Coverage(subject, *_judged(host))
    elif target.protocol != "tcp":
        yield Coverage(subject, Outcome.NOT_LOOKED_AT, "only TCP ports are asked")
    else:
        yield Coverage(subject, Outcome.SILENT, f"no longer open: {port.state} now" if port else "no longer open")


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
        return Outcome.ANSWERED, ", ".join(f"{count} {state}" for state, count in states.most_common())
    return Outcome.SILENT, ", ".join(f"{count} {state} ({why})" for (state, why), count in counts.most_common())


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
