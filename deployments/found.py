"""How the `pulsar` command prints what a scan found: names, services, technologies, weaknesses, and its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from deployments.answers import FindingFound, HostFound, Name, Scan, Service, TechnologyFound
from deployments.show import SENTENCE, address_order, one_line, paper, plain, say, table_of, verdict, warnings

WORST_FIRST = ("critical", "high", "medium", "low", "none")
SEVERITY_COLOURS = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan"}
MOST_FINDINGS = 100
"""Findings that are printed; the rest is counted. `--json` and the API have all."""


@dataclass(frozen=True, slots=True)
class Found:
    """All that a scan found, as the API tells it."""

    services: Sequence[Service] = ()
    names: Sequence[Name] = ()
    hosts: Sequence[HostFound] = ()
    technologies: Sequence[TechnologyFound] = ()
    findings: Sequence[FindingFound] = ()


def service_order(service: Service) -> tuple[object, ...]:
    """A key that sorts services by address, as numbers, then by port."""
    return address_order(service.host), service.protocol, service.port


def results(scan: Scan, found: Found) -> None:
    """Print what a scan found (services in this order), what it could not look at, and its verdict."""
    console = paper()
    for table in (
        _names(found.names, found.hosts),
        _services(found.services),
        _technologies(found.technologies),
        _findings(found.findings),
    ):
        if table.row_count:
            console.print(table, "")
    if not found.services:
        has_looked = any(run.name.startswith(("nmap", "zmap")) and run.done + run.partial for run in scan.modules)
        console.print("No open port was found in what was looked at." if has_looked else "No port was looked at.")
    if len(found.findings) > MOST_FINDINGS:
        say(f"{len(found.findings) - MOST_FINDINGS} more findings: `--json` prints all of them.")
    warnings(console, scan)
    say(verdict(scan))


def _technologies(technologies: Sequence[TechnologyFound]) -> Table:
    by_subject: dict[str, list[str]] = {}
    for one in technologies:
        by_subject.setdefault(one.subject, []).append(f"{one.name} {one.version or ''}".strip())
    table = table_of("made with", "technologies")
    for subject, words in by_subject.items():
        table.add_row(plain(subject), Text(one_line(", ".join(words), SENTENCE)))
    return table


def _findings(findings: Sequence[FindingFound]) -> Table:
    table = table_of("severity", ">score", ">sure", "where", "finding")
    ordered = sorted(findings, key=lambda one: (_rank(one.severity), -(one.score or 0), one.subject, one.rule))
    for one in ordered[:MOST_FINDINGS]:
        table.add_row(
            Text(one_line(one.severity, 10), style=SEVERITY_COLOURS.get(one.severity, "")),
            f"{one.score:.1f}" if one.score is not None else "",
            f"{one.confidence:.0%}",
            plain(one.subject),
            Text(one_line(one.title or one.rule, SENTENCE)),
        )
    return table


def _rank(severity: str) -> int:
    return WORST_FIRST.index(severity) if severity in WORST_FIRST else len(WORST_FIRST)


def _services(services: Sequence[Service]) -> Table:
    table = table_of("host", ">port", "service", "product", "version")
    for service in services:
        port = f"{service.port}/{one_line(service.protocol, 8)}"
        table.add_row(plain(service.host), port, plain(service.service), plain(service.product), plain(service.version))
    return table


def _names(names: Sequence[Name], hosts: Sequence[HostFound]) -> Table:
    found: dict[str, list[str]] = {}
    for host in hosts:
        for led_here in host.names:
            found.setdefault(led_here, []).append(host.address)
    table = table_of("name", "addresses", "alias of")
    for name in sorted(names, key=lambda one: one.name.split(".")[::-1]):
        listed = sorted(found.get(name.name, []), key=address_order)
        table.add_row(plain(name.name), Text(one_line(", ".join(listed), SENTENCE)), plain(name.cname))
    return table
