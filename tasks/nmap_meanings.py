"""What nmap's scripts say, and what it means: details of a service, or a weakness of it.

Most of their words were chosen by whoever owns the target; what is taken for a weakness are nmap's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from footprint.records import Finding, Severity, Technology
from footprint.text import clean
from tasks.nmap_xml import Port, SeenHost, Told

TEXT_BYTES = 1000
IDLE = re.compile(r"^(?:System )?(?:uptime|time)\b|time stamp|:$|^program version ", re.IGNORECASE)
"""Lines that are different each time, and headings."""
CWE = "https://cwe.mitre.org/data/definitions/{}.html"
TAKEN_OVER = ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8)


@dataclass(frozen=True, slots=True)
class Weakness:
    """What makes a line of a script a weakness. `rating` is a CVSS vector and its base score."""

    pattern: re.Pattern[str]
    title: str
    severity: Severity
    reference: str
    rating: tuple[str, float] | None = None

    def found_in(self, told: Told, subject: str) -> Iterator[Finding]:
        """The finding, with the lines that prove it."""
        lines = [line for line in told.lines if self.pattern.search(line) and not IDLE.search(line)]
        if lines:
            vector, score = self.rating or (None, None)
            yield Finding(
                f"nmap/{told.script}",
                subject,
                title=self.title,
                severity=self.severity,
                evidence=clean("; ".join(lines), TEXT_BYTES),
                reference=self.reference,
                cvss=vector,
                score=score,
            )


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a script's answer means.

    `name` is what it describes; of its values `version` and `facts` are kept, or its lines where no facts are named.
    `ports` are those whose service a script for whole hosts speaks of.
    """

    name: str = ""
    version: str = ""
    facts: tuple[str, ...] = ()
    weakness: Weakness | None = None
    ports: tuple[int, ...] = ()

    def described_in(self, told: Told, subject: str) -> Iterator[Technology]:
        """The detail, where there is anything to it."""
        if self.facts:
            said = [f"{key}: {_bare(value)}" for key, value in told.facts if key in self.facts]
        else:
            said = [line for line in told.lines if not IDLE.search(line)]
        version = dict(told.facts).get(self.version)
        if self.name and (said or version):
            yield Technology(subject, self.name, version=version, detail=clean("; ".join(said), TEXT_BYTES) or None)


def _bare(value: str) -> str:
    """A value without the NUL that ends it in some protocols, which nmap spells out."""
    return value.removesuffix(r"\x00")


def _weakness(pattern: str, title: str, severity: Severity, reference: str, *rating: Any) -> Weakness:
    return Weakness(re.compile(pattern), title, severity, reference, rating or None)


_NTLM = Meaning(
    "NTLM",
    facts=(
        "Target_Name",
        "NetBIOS_Domain_Name",
        "NetBIOS_Computer_Name",
        "DNS_Domain_Name",
        "DNS_Computer_Name",
        "DNS_Tree_Name",
        "Product_Version",
    ),
)
_SMB_PORTS = (445, 139)

MEANINGS: Mapping[str, Meaning] = {
    "ajp-methods": Meaning(
        "AJP",
        weakness=_weakness(
            r"^Potentially risky methods:.*\b(?:PUT|DELETE)\b",
            "AJP takes methods that change what is served",
            Severity.MEDIUM,
            CWE.format(650),
        ),
    ),
    "dns-nsid": Meaning("Name server", facts=("NSID", "id.server", "bind.version")),
    "http-ntlm-info": _NTLM,
    "mysql-empty-password": Meaning(
        weakness=_weakness(
            r"^(?:root|anonymous) account has empty password$",
            "MySQL lets in who has no password",
            Severity.CRITICAL,
            CWE.format(258),
            *TAKEN_OVER,
        )
    ),
    "mysql-info": Meaning("MySQL protocol", version="Version", facts=("Protocol", "Auth Plugin Name")),
    "nbstat": Meaning("NetBIOS", ports=(137,)),
    "nfs-showmount": Meaning(
        "NFS exports",
        weakness=_weakness(
            r"^/\S*(?:$| (?:.* )?(?:\*|0\.0\.0\.0/0|::/0|\(everyone\))(?: |$))",
            "NFS exports a directory to everybody",
            Severity.HIGH,
            CWE.format(732),
            "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N",
            7.5,
        ),
    ),
    "ntp-info": Meaning("NTP server", facts=("version", "processor", "system")),
    "rdp-ntlm-info": _NTLM,
    "rpcinfo": Meaning("RPC programs"),
    "smb-os-discovery": Meaning(
        "SMB server",
        facts=("os", "lanmanager", "server", "workgroup", "domain_dns", "forest_dns", "fqdn"),
        ports=_SMB_PORTS,
    ),
    "smb-protocols": Meaning(
        "SMB",
        ports=_SMB_PORTS,
        weakness=_weakness(
            r"\(SMBv1\)",
            "SMB version 1 is taken up",
            Severity.HIGH,
            "https://learn.microsoft.com/windows-server/storage/file-server/troubleshoot/smbv1-not-installed-by-default-in-windows",
        ),
    ),
    "smb2-security-mode": Meaning(
        "SMB signing",
        ports=_SMB_PORTS,
        weakness=_weakness(
            r"^Message signing (?:enabled but|is disabled and) not required|^Message signing is disabled",
            "SMB messages need not be signed",
            Severity.MEDIUM,
            CWE.format(345),
            "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:L/A:N",
            5.3,
        ),
    ),
    "snmp-info": Meaning("SNMP engine", facts=("enterprise", "engineIDFormat", "engineIDData")),
    "snmp-sysdescr": Meaning(
        "SNMP system",
        weakness=_weakness(
            r"",
            "SNMP answers to the community 'public'",
            Severity.HIGH,
            CWE.format(1392),
            "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N",
            7.5,
        ),
    ),
    "telnet-encryption": Meaning(
        weakness=_weakness(
            r"^Telnet server does not support encryption$",
            "Telnet speaks in clear text",
            Severity.MEDIUM,
            CWE.format(319),
            "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:L/A:N",
            6.5,
        )
    ),
    "vnc-info": Meaning(
        "VNC",
        version="Protocol version",
        weakness=_weakness(
            r"^WARNING: Server does not require authentication$|^None \(1\)$",
            "VNC asks for no password",
            Severity.CRITICAL,
            CWE.format(306),
            *TAKEN_OVER,
        ),
    ),
    "x11-access": Meaning(
        weakness=_weakness(
            r"^X server access is granted$",
            "The X server lets anybody in",
            Severity.CRITICAL,
            CWE.format(306),
            *TAKEN_OVER,
        )
    ),
}
_OPEN_DISPLAY = Told("x11-access", ("X server access is granted",))


def about_port(port: Port, subject: str) -> Iterator[Technology | Finding]:
    """What scripts said of a port's service."""
    for told in port.scripts:
        yield from _meant(told, subject)
    if port.name == "X11" and port.detail == "open":
        # The script leaves out what version detection has asked already.
        yield from _meant(_OPEN_DISPLAY, subject)


def about_host(host: SeenHost, subjects: Mapping[int, str]) -> Iterator[Technology | Finding]:
    """What scripts said of a host, as said of the service that they spoke with; `subjects` are the known, by port."""
    for told in host.scripts:
        ports = MEANINGS[told.script].ports if told.script in MEANINGS else ()
        subject = next((subjects[port] for port in ports if port in subjects), None)
        if subject:
            yield from _meant(told, subject)


def _meant(told: Told, subject: str) -> Iterator[Technology | Finding]:
    meaning = MEANINGS.get(told.script)
    if meaning is None or any(line.startswith("ERROR:") for line in told.lines[:1]):
        return
    yield from meaning.described_in(told, subject)
    if meaning.weakness:
        yield from meaning.weakness.found_in(told, subject)
