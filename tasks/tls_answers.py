"""What a report of sslyze says of the endpoints it was asked about: records, findings, and what became of each."""

from __future__ import annotations

from collections.abc import Iterator

from footprint.errors import InvalidTarget, ToolTimedOut
from footprint.records import Coverage, DomainName, Endpoint, Finding, Outcome, Service, subject_of
from footprint.target import parse_name
from tasks.tls_certificates import View, certificate, judge
from tasks.tls_flaws import flaws
from tasks.tls_options import OPTIONS, TlsOptions
from tasks.tls_report import Deployment, Report, Results, Server, read
from tasks.tool import Batch, Ending, Found, Output

NAMES_KEPT = 250
"""Names taken from one certificate: whoever made it decides how many it lists."""

UNREACHED = {
    "ServerRejectedConnection": (Outcome.SILENT, "refused the connection"),
    "ConnectionToServerTimedOut": (Outcome.TIMED_OUT, "did not answer in time"),
    "TlsHandshakeTimedOut": (Outcome.TIMED_OUT, "the handshake took too long"),
    "ServerTlsConfigurationNotSupported": (Outcome.SILENT, "no protocol and cipher could be agreed on: perhaps no TLS"),
    "ServerRejectedTlsHandshake": (Outcome.SILENT, "refused every handshake"),
    "ServerRejectedOpportunisticTlsNegotiation": (Outcome.SILENT, "does not offer STARTTLS"),
}
"""What sslyze's errors mean."""


def parse(output: Output, batch: Batch) -> Iterator[Found]:
    """Certificates, their names, findings, and one coverage for each endpoint.

    Raises `ToolTimedOut` where an address held sslyze up for too long: it writes when it is through with all, so
    nothing is known then; and whatever `read` raises.
    """
    options = TlsOptions.model_validate_json(output.files.get(OPTIONS, "{}"))
    endpoints = [record for record in batch if isinstance(record, Endpoint)]
    if output.ending is Ending.TIMED_OUT and not output.stdout.strip():
        yield from (
            Coverage(subject_of(each), Outcome.TIMED_OUT, "sslyze was not through in time") for each in endpoints
        )
        raise ToolTimedOut(
            f"tls: not through after {round(output.seconds)} s, and sslyze tells nothing before",
            hint="a slow host: raise the module's host_timeout, or lower the intensity",
        )
    yield from _told_once(list(_of_all(endpoints, read(output.stdout, output.stderr), options)))


def _told_once(found: list[Found]) -> Iterator[Found]:
    """Leave out what is said of a service by a name, where the same is said of it without one."""
    said = {(each.rule, each.subject, each.evidence) for each in found if isinstance(each, Finding)}
    for each in found:
        if isinstance(each, Finding):
            name, _, service = each.subject.rpartition("@")
            if name and (each.rule, service, each.evidence) in said:
                continue
        yield each


def _of_all(endpoints: list[Endpoint], report: Report, options: TlsOptions) -> Iterator[Found]:
    seen = {server.place: server for server in report.server_scan_results}
    for endpoint in endpoints:
        server = seen.get((endpoint.name or endpoint.address, endpoint.address, endpoint.port))
        if server is None:
            yield Coverage(subject_of(endpoint), Outcome.NOT_LOOKED_AT, "sslyze did not take it as a target")
        else:
            yield from _answered(endpoint, server, report, options)


def _answered(endpoint: Endpoint, server: Server, report: Report, options: TlsOptions) -> Iterator[Found]:
    subject = subject_of(endpoint)
    if server.scan_result is None:
        error, said = server.trouble
        outcome, note = UNREACHED.get(error, (Outcome.NOT_LOOKED_AT, f"sslyze could not reach it: {error}"))
        yield Coverage(subject, outcome, f"{note} ({said})" if said else note)
        return
    views = [
        View(
            deployment.received_certificate_chain[0],
            deployment,
            endpoint.name,
            report.date_scans_completed,
            options.expiry_days,
        )
        for deployment in _deployments(server.scan_result)
        if deployment.received_certificate_chain
    ]
    yield from (certificate(view.leaf, subject) for view in views)
    names = _names(views)
    yield from (DomainName(name) for name in names[:NAMES_KEPT])
    yield from judge(views, subject)
    # Protocols and ciphers belong to the service: found by each of its names, they are one finding.
    yield from flaws(server.scan_result, subject_of(Service(endpoint.address, endpoint.port)))
    yield _coverage(subject, server.scan_result, len(names))


def _deployments(results: Results) -> list[Deployment]:
    found = results.certificate_info.result
    return found.certificate_deployments if found else []


def _names(views: list[View]) -> list[str]:
    """The DNS names of certificates, each once; a wildcard tells of its parent only."""
    found: dict[str, None] = {}
    for view in views:
        for name in view.leaf.subject_alternative_name.dns_names:
            try:
                found[parse_name(name.removeprefix("*."))] = None
            except InvalidTarget:
                continue  # whoever made the certificate wrote it
    return list(found)


def _coverage(subject: str, results: Results, names: int) -> Coverage:
    attempts = results.attempts
    failed = [name for name, attempt in attempts.items() if attempt.status == "ERROR"]
    done = sum(attempt.status == "COMPLETED" for attempt in attempts.values())
    note = f"{done} of {done + len(failed)} checks"
    if names > NAMES_KEPT:
        note += f"; {NAMES_KEPT} of its certificate's {names} names were kept"
    if not failed:
        return Coverage(subject, Outcome.ANSWERED, note)
    reasons = {attempts[name].error_reason or "" for name in failed}
    told = ", ".join(sorted(name.replace("_", " ") for name in failed))
    if reasons == {"CLIENT_CERTIFICATE_NEEDED"}:
        return Coverage(subject, Outcome.ANSWERED, f"{note}; without a client certificate not: {told}")
    outcome = Outcome.TIMED_OUT if reasons == {"CONNECTIVITY_ISSUE"} else Outcome.NOT_LOOKED_AT
    why = ", ".join(sorted(reason.lower().replace("_", " ") for reason in reasons if reason))
    return Coverage(subject, outcome, f"{note}; not finished: {told} ({why})")
