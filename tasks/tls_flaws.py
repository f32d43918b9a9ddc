"""What is wrong with a TLS service apart from its certificate: old protocols, weak ciphers, known flaws."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from footprint.records import Finding, Severity
from tasks.tls_report import Results

CIPHERS_SHOWN = 12

_RFC = "https://www.rfc-editor.org/rfc/rfc"
_CVE = "https://nvd.nist.gov/vuln/detail/"


@dataclass(frozen=True, slots=True)
class Flaw:
    """A check of a service: `look` gives the evidence, or nothing where all is well or nothing is known."""

    name: str
    title: str
    severity: Severity
    reference: str
    look: Callable[[Results], str]
    cvss: str | None = None
    score: float | None = None


def _offers(protocol: str) -> Callable[[Results], str]:
    def look(results: Results) -> str:
        found = results.protocols.get(protocol)
        if found is None or not found.is_tls_version_supported:
            return ""
        return f"{protocol} with {_listed(each.cipher_suite.name for each in found.accepted_cipher_suites)}"

    return look


def _accepts(*marks: str, anonymous: bool = False) -> Callable[[Results], str]:
    """Cipher suites with one of these words in their names (IANA's), or those that authenticate nobody."""

    def look(results: Results) -> str:
        said = []
        for protocol, found in results.protocols.items():
            suites = [each.cipher_suite for each in found.accepted_cipher_suites]
            weak = [
                suite.name
                for suite in suites
                if any(mark in suite.name for mark in marks) or (anonymous and suite.is_anonymous)
            ]
            if weak:
                said.append(f"{protocol}: {_listed(iter(weak))}")
        return "; ".join(said)

    return look


def _listed(names: Iterator[str]) -> str:
    every = list(names)
    more = f" and {len(every) - CIPHERS_SHOWN} more" if len(every) > CIPHERS_SHOWN else ""
    return f"{', '.join(every[:CIPHERS_SHOWN])}{more}" if every else "no cipher suite we know"


def _heartbleed(results: Results) -> str:
    found = results.heartbleed.result
    return "it answered a heartbeat longer than was sent" if found and found.is_vulnerable_to_heartbleed else ""


def _ccs_injection(results: Results) -> str:
    found = results.openssl_ccs_injection.result
    return "it took a ChangeCipherSpec too early" if found and found.is_vulnerable_to_ccs_injection else ""


def _robot(results: Results) -> str:
    found = results.robot.result
    if found is None or not found.robot_result.startswith("VULNERABLE"):
        return ""
    return f"its answers tell apart how RSA padding is broken ({found.robot_result.removeprefix('VULNERABLE_')})"


def _compression(results: Results) -> str:
    found = results.tls_compression.result
    return "it agreed to DEFLATE" if found and found.supports_compression else ""


def _renegotiation(results: Results) -> str:
    found = results.session_renegotiation.result
    # A service without TLS 1.2 or older has no renegotiation; sslyze says then that it is secure.
    is_insecure = found is not None and not found.supports_secure_renegotiation
    return "it does not offer secure renegotiation (RFC 5746)" if is_insecure else ""


def _client_renegotiation(results: Results) -> str:
    found = results.session_renegotiation.result
    is_open = found is not None and found.is_vulnerable_to_client_renegotiation_dos
    return "it renegotiated as often as its client asked" if is_open else ""


FLAWS = (
    Flaw("ssl2", "SSL 2.0 is offered", Severity.HIGH, f"{_RFC}6176", _offers("SSL 2.0")),
    Flaw("ssl3", "SSL 3.0 is offered", Severity.MEDIUM, f"{_RFC}7568", _offers("SSL 3.0")),
    Flaw("tls1.0", "TLS 1.0 is offered", Severity.LOW, f"{_RFC}8996", _offers("TLS 1.0")),
    Flaw("tls1.1", "TLS 1.1 is offered", Severity.LOW, f"{_RFC}8996", _offers("TLS 1.1")),
    Flaw(
        "null-cipher", "Ciphers that do not encrypt are accepted", Severity.HIGH, f"{_RFC}9325#section-4.1",
        _accepts("_NULL_"),
    ),
    Flaw(
        "anonymous-cipher", "Ciphers without authentication are accepted", Severity.HIGH, f"{_RFC}9325#section-4.1",
        _accepts("_anon_", anonymous=True),
    ),
    Flaw(
        "export-cipher", "Export ciphers are accepted (FREAK, Logjam)", Severity.HIGH, f"{_RFC}9325#section-4.1",
        _accepts("EXPORT"),
    ),
    Flaw(
        "rc4-cipher", "RC4 is accepted", Severity.MEDIUM, f"{_RFC}7465", _accepts("RC4"),
        "CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:N/A:N", 5.9,
    ),
    Flaw(
        "64-bit-cipher", "Ciphers with blocks of 64 bits are accepted (Sweet32)", Severity.MEDIUM,
        f"{_CVE}CVE-2016-2183", _accepts("3DES", "_DES_", "DES40", "IDEA", "_RC2_"),
    ),
    Flaw(
        "heartbleed", "Memory can be read (Heartbleed, CVE-2014-0160)", Severity.HIGH, f"{_CVE}CVE-2014-0160",
        _heartbleed, "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", 7.5,
    ),
    Flaw(
        "ccs-injection", "Keys can be forced (CCS injection, CVE-2014-0224)", Severity.HIGH, f"{_CVE}CVE-2014-0224",
        _ccs_injection, "CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:H/A:N", 7.4,
    ),
    Flaw(
        "robot", "RSA padding oracle (ROBOT)", Severity.MEDIUM, f"{_CVE}CVE-2017-13099",
        _robot, "CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:N/A:N", 5.9,
    ),
    Flaw(
        "compression", "TLS compression is on (CRIME, CVE-2012-4929)", Severity.LOW, f"{_CVE}CVE-2012-4929",
        _compression, "AV:N/AC:H/Au:N/C:P/I:N/A:N", 2.6,
    ),
    Flaw(
        "insecure-renegotiation", "Renegotiation is not secured (CVE-2009-3555)", Severity.MEDIUM, f"{_RFC}5746",
        _renegotiation, "AV:N/AC:M/Au:N/C:N/I:P/A:P", 5.8,
    ),
    Flaw(
        "client-renegotiation", "Clients may renegotiate without end (CVE-2011-1473)", Severity.MEDIUM,
        f"{_CVE}CVE-2011-1473", _client_renegotiation, "AV:N/AC:L/Au:N/C:N/I:N/A:P", 5.0,
    ),
)  # fmt: skip


def flaws(results: Results, subject: str) -> Iterator[Finding]:
    """What is wrong with a service that answered this."""
    for flaw in FLAWS:
        if evidence := flaw.look(results):
            yield Finding(
                f"tls/{flaw.name}",
                subject,
                title=flaw.title,
                severity=flaw.severity,
                evidence=evidence,
                reference=flaw.reference,
                cvss=flaw.cvss,
                score=flaw.score,
            )
