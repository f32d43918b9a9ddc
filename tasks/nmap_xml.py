"""Reads nmap's XML, whole or cut off, into what was seen of each host.

python-nmap reads hosts, ports and services. What it loses is read beside it with a pull parser: time-outs, all
addresses of a host, CPE lists, tunnels, counts of ports that are not listed, what scripts say beside their text, how
sure a guess is, targets that were skipped, and documents that break off. Most of what is read here
was chosen by whoever owns the scanned host.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from ipaddress import ip_address
from itertools import islice
from typing import TYPE_CHECKING, Any

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, iterparse
from nmap import PortScanner, PortScannerError

from footprint.errors import OutputNotUnderstood
from footprint.text import clean

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

FIELD_BYTES = 4096
CPES_KEPT = 20
LINES_KEPT, FACTS_KEPT = 100, 50
"""Of what a script says."""

_DOCTYPE = re.compile(r"<!DOCTYPE(?! nmaprun>)|<!ENTITY", re.IGNORECASE)
_ROOT = re.compile(r"<nmaprun\b[^>]*>")
_REFERENCE = re.compile(r"&#(?:x([0-9a-fA-F]+)|([0-9]+));")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENDING = "<runstats><finished/><hosts/></runstats></nmaprun>"


@dataclass(frozen=True, slots=True)
class Told:
    """What a script said: its text in lines, and its values by name, those in tables left out."""

    script: str
    lines: tuple[str, ...]
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Port:
    """One port as nmap saw it. `name` is None where nmap only looked the number up in a table."""

    number: int
    protocol: str
    state: str
    reason: str
    name: str | None
    product: str | None
    version: str | None
    detail: str | None
    tunnel: str | None
    cpes: tuple[str, ...]
    scripts: tuple[Told, ...]


@dataclass(frozen=True, slots=True)
class SeenHost:
    """One finished host. `unlisted` counts the ports that nmap sums up: (state, reason, how many).

    `guesses` are what it may run on, with per cent of certainty; `scripts` speak of the host as a whole.
    """

    addresses: tuple[str, ...]
    is_up: bool
    timed_out: bool
    ports: tuple[Port, ...]
    unlisted: tuple[tuple[str, str, int], ...]
    guesses: tuple[tuple[str, int], ...]
    scripts: tuple[Told, ...]

    def open_ports(self, protocol: str) -> list[Port]:
        """Its open ports of a protocol, lowest first."""
        found = (port for port in self.ports if port.protocol == protocol and port.state == "open")
        return sorted(found, key=lambda port: port.number)

    def tally(self) -> Counter[tuple[str, str]]:
        """How many ports were in which state, and why nmap thinks so."""
        counts = Counter((port.state, port.reason) for port in self.ports)
        for state, reason, count in self.unlisted:
            counts[state, reason] += count
        return counts


@dataclass(frozen=True, slots=True)
class Report:
    """A document. `skipped` are targets nmap did not take; `total` is how many addresses it says it looked at."""

    hosts: tuple[SeenHost, ...]
    is_complete: bool
    skipped: frozenset[str]
    total: int
    error: str
    scan_type: str


def read(text: str) -> Report:
    """Read a document, or what there is of one; hosts that were not finished are not in it.

    Raises `OutputNotUnderstood` for anything that is not nmap's.
    """
    document, is_complete = _mended(text)
    try:
        return _report(document, is_complete)
    except (ParseError, DefusedXmlException, PortScannerError) as error:
        raise OutputNotUnderstood("nmap: its output is not the XML that nmap writes") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise OutputNotUnderstood("nmap: its output lacks what nmap always writes") from error


def _mended(text: str) -> tuple[str, bool]:
    """The document made well-formed, and whether it was whole: the last finished host ends one that breaks off."""
    root = _ROOT.search(text)
    if root is None:
        raise OutputNotUnderstood("nmap: it wrote no report")
    if _DOCTYPE.search(text):
        raise OutputNotUnderstood("nmap: its output declares entities, which nmap never does")
    text = _NOT_XML.sub("", _REFERENCE.sub(_legal_reference, text))
    root = _ROOT.search(text)
    if root is None or text.rstrip().endswith("</nmaprun>"):
        return text, True
    last = text.rfind("</host>")
    return text[: last + len("</host>") if last >= 0 else root.end()] + _ENDING, False


def _legal_reference(match: re.Match[str]) -> str:
    hexadecimal, decimal = match.groups()
    digits = (hexadecimal or decimal).lstrip("0")[:8]
    number = int(digits or "0", 16 if hexadecimal else 10)
    is_legal = number < 0x110000 and not _NOT_XML.match(chr(number))
    return match.group() if is_legal else ""


def _report(document: str, is_complete: bool) -> Report:
    hosts: list[SeenHost] = []
    skipped: list[str] = []
    total, error, scan_type = 0, "", ""
    listed = _python_nmap(document)
    for _, element in iterparse(BytesIO(document.encode())):
        match element.tag:
            case "host":
                hosts.append(_host(element, listed))
                element.clear()
            case "target":
                skipped += _addresses([element.get("specification")])
            case "scaninfo":
                scan_type = element.get("type", "")
            case "finished":
                error = clean(element.get("errormsg", ""), 200)
            case "hosts":
                total = int(element.get("total", "0"))
    if len(hosts) != len(listed):
        raise ValueError("a host is listed twice")
    return Report(tuple(hosts), is_complete, frozenset(skipped), total, error, scan_type)


def _python_nmap(document: str) -> dict[str, Any]:
    # Its constructor would start nmap to ask for a version; reading needs nothing of what that sets up.
    scanner = PortScanner.__new__(PortScanner)
    hosts: dict[str, Any] = scanner.analyse_nmap_xml_scan(nmap_xml_output=document)["scan"]
    return hosts


def _host(element: Element, listed: dict[str, Any]) -> SeenHost:
    addresses = [(entry.get("addrtype"), entry.get("addr", "")) for entry in element.findall("address")]
    key = next((address for kind, address in addresses if kind == "ipv4"), addresses[0][1])
    status = element.find("status")
    return SeenHost(
        addresses=tuple(_addresses(address for _, address in addresses)),
        is_up=status is not None and status.get("state") == "up",
        timed_out=element.get("timedout") == "true",
        ports=tuple(_port(port, listed[key]) for port in element.findall("ports/port")),
        unlisted=tuple(_unlisted(element)),
        guesses=tuple(_guesses(element)),
        scripts=tuple(_told(script) for script in element.findall("hostscript/script")),
    )


def _addresses(texts: Iterable[str | None]) -> list[str]:
    """Those that are IP addresses (a MAC is none), in canonical text."""
    found = []
    for text in texts:
        try:
            found.append(str(ip_address(text or "")))
        except ValueError:
            continue
    return found


def _port(element: Element, listed: dict[str, Any]) -> Port:
    protocol, number = element.get("protocol", ""), int(element.get("portid", ""))
    if not 0 <= number <= 65535:
        raise ValueError("a port is 0 to 65535")
    fields = listed[protocol][number]
    service = element.find("service")
    is_probed = service is not None and service.get("method") == "probed"
    cpes = [_field(cpe.text) for cpe in element.findall("service/cpe")]
    return Port(
        number=number,
        protocol=protocol,
        state=fields["state"],
        reason=fields["reason"],
        name=_field(fields["name"]) if is_probed else None,
        product=_field(fields["product"]),
        version=_field(fields["version"]),
        detail=_field(fields["extrainfo"]),
        tunnel=_field(service.get("tunnel")) if service is not None else None,
        cpes=tuple(dict.fromkeys(cpe for cpe in cpes if cpe))[:CPES_KEPT],
        scripts=tuple(_told(script) for script in element.findall("script")),
    )


def _unlisted(element: Element) -> Iterable[tuple[str, str, int]]:
    for extra in element.findall("ports/extraports"):
        for reasons in extra.findall("extrareasons") or [extra]:
            yield extra.get("state", ""), reasons.get("reason", ""), int(reasons.get("count", ""))


def _guesses(element: Element) -> Iterable[tuple[str, int]]:
    for match in element.findall("os/osmatch"):
        if name := _field(match.get("name")):
            yield name, int(match.get("accuracy", ""))


def _told(element: Element) -> Told:
    lines = (_field(" ".join(line.split())) for line in element.get("output", "")[: 4 * FIELD_BYTES].splitlines())
    facts = islice(_facts(element), FACTS_KEPT)
    return Told(element.get("id", ""), tuple(islice(filter(None, lines), LINES_KEPT)), tuple(facts))


def _facts(element: Element) -> Iterable[tuple[str, str]]:
    for part in element.findall("elem"):
        name, value = _field(part.get("key")), _field(part.text)
        if name and value:
            yield name, value


def _field(text: str | None) -> str | None:
    return clean(text or "", FIELD_BYTES).strip() or None
