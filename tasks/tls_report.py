"""sslyze's report, as far as it is used: one JSON document, written whole when the program is through."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime

from pydantic import BaseModel, Field, ValidationError

from footprint.errors import OutputNotUnderstood, OutputTruncated, ToolCrashed
from footprint.text import clean


class PublicKey(BaseModel):
    algorithm: str
    key_size: int | None = None
    ec_curve_name: str | None = None


class Distinguished(BaseModel):
    rfc4514_string: str


class AlternativeNames(BaseModel):
    dns_names: list[str] = Field(default_factory=list)
    ip_addresses: list[str] = Field(default_factory=list)


class Word(BaseModel):
    name: str


class Leaf(BaseModel):
    """A certificate. Subject and issuer are None where they could not be read."""

    fingerprint_sha256: str
    serial_number: int
    not_valid_before: datetime
    not_valid_after: datetime
    subject_alternative_name: AlternativeNames
    signature_hash_algorithm: Word | None = None
    signature_algorithm_oid: Word
    subject: Distinguished | None = None
    issuer: Distinguished | None = None
    public_key: PublicKey

    @property
    def issued_to(self) -> str:
        """The distinguished name of whom it is for, or nothing."""
        return self.subject.rfc4514_string if self.subject else ""

    @property
    def issued_by(self) -> str:
        """The distinguished name of its issuer, or nothing."""
        return self.issuer.rfc4514_string if self.issuer else ""

    @property
    def names(self) -> tuple[str, ...]:
        """Its subject alternative names, DNS names and addresses."""
        return (*self.subject_alternative_name.dns_names, *self.subject_alternative_name.ip_addresses)

    @property
    def fingerprint(self) -> str:
        """Its SHA-256 in hexadecimal; what was written, where that is no base 64."""
        try:
            return base64.b64decode(self.fingerprint_sha256, validate=True).hex()
        except (binascii.Error, ValueError):
            return self.fingerprint_sha256

    @property
    def key(self) -> str:
        """Algorithm and size of its key: `RSA 2048`, `EC 256 (secp256r1)`, `Ed25519`."""
        kind = self.public_key.algorithm.removesuffix("PublicKey").replace("EllipticCurve", "EC")
        size = f" {self.public_key.key_size}" if self.public_key.key_size else ""
        curve = f" ({self.public_key.ec_curve_name})" if self.public_key.ec_curve_name else ""
        return f"{kind}{size}{curve}"


class PathValidation(BaseModel):
    trust_store: Word
    was_validation_successful: bool
    validation_error: str | None = None


class Deployment(BaseModel):
    received_certificate_chain: list[Leaf]
    path_validation_results: list[PathValidation] = Field(default_factory=list)


class Certificates(BaseModel):
    certificate_deployments: list[Deployment]


class CipherSuite(BaseModel):
    name: str
    is_anonymous: bool = False


class Accepted(BaseModel):
    cipher_suite: CipherSuite


class Protocol(BaseModel):
    is_tls_version_supported: bool
    accepted_cipher_suites: list[Accepted]


class Compression(BaseModel):
    supports_compression: bool


class CcsInjection(BaseModel):
    is_vulnerable_to_ccs_injection: bool


class Heartbleed(BaseModel):
    is_vulnerable_to_heartbleed: bool


class Robot(BaseModel):
    robot_result: str


class Renegotiation(BaseModel):
    supports_secure_renegotiation: bool
    is_vulnerable_to_client_renegotiation_dos: bool = False


class Attempt(BaseModel):
    """One of sslyze's scan commands: COMPLETED, ERROR or NOT_SCHEDULED; its result is there in the first case only."""

    status: str
    error_reason: str | None = None


class CertificatesAttempt(Attempt):
    result: Certificates | None = None


class ProtocolAttempt(Attempt):
    result: Protocol | None = None


class CompressionAttempt(Attempt):
    result: Compression | None = None


class CcsInjectionAttempt(Attempt):
    result: CcsInjection | None = None


class HeartbleedAttempt(Attempt):
    result: Heartbleed | None = None


class RobotAttempt(Attempt):
    result: Robot | None = None


class RenegotiationAttempt(Attempt):
    result: Renegotiation | None = None


class Results(BaseModel):
    """What sslyze was asked of one endpoint; what is not listed here is not asked."""

    certificate_info: CertificatesAttempt
    ssl_2_0_cipher_suites: ProtocolAttempt
    ssl_3_0_cipher_suites: ProtocolAttempt
    tls_1_0_cipher_suites: ProtocolAttempt
    tls_1_1_cipher_suites: ProtocolAttempt
    tls_1_2_cipher_suites: ProtocolAttempt
    tls_1_3_cipher_suites: ProtocolAttempt
    tls_compression: CompressionAttempt
    openssl_ccs_injection: CcsInjectionAttempt
    heartbleed: HeartbleedAttempt
    robot: RobotAttempt
    session_renegotiation: RenegotiationAttempt

    @property
    def attempts(self) -> dict[str, Attempt]:
        """Every command, by its name in the report."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    @property
    def protocols(self) -> dict[str, Protocol]:
        """The protocols that were asked about, `SSL 2.0` to `TLS 1.3`, with what was answered."""
        spelled = {f"{name[:3].upper()} {name[4]}.{name[6]}": name for name in self.attempts if name.endswith("suites")}
        return {word: result for word, name in spelled.items() if (result := getattr(self, name).result)}


class Location(BaseModel):
    hostname: str
    ip_address: str | None = None
    port: int


class Server(BaseModel):
    """One endpoint. `connectivity_error_trace` is a Python traceback, its last line the error."""

    server_location: Location
    connectivity_status: str
    connectivity_error_trace: str | None = None
    scan_result: Results | None = None

    @property
    def place(self) -> tuple[str, str | None, int]:
        """What it was asked as: name, address and port."""
        return (self.server_location.hostname, self.server_location.ip_address, self.server_location.port)

    @property
    def trouble(self) -> tuple[str, str]:
        """Why it could not be spoken to: the error's name and what it says."""
        last = (self.connectivity_error_trace or "").strip().rpartition("\n")[2]
        name, _, said = last.partition(": ")
        return name.rpartition(".")[2], clean((said.partition("-> ")[2] or said).strip('".'), 200)


class Report(BaseModel):
    """All of it. Validity is judged by `date_scans_completed`."""

    server_scan_results: list[Server]
    date_scans_completed: datetime


def read(text: str, stderr: str = "") -> Report:
    """Read what sslyze wrote.

    Raises `ToolCrashed` where it said in plain text why it did nothing, `OutputTruncated` where the document ends
    in the middle, `OutputNotUnderstood` where it is none of sslyze's.
    """
    if not text.strip():
        raise OutputNotUnderstood("tls: sslyze wrote nothing", hint=clean(stderr.strip().rpartition("\n")[2], 200))
    start = text.find("{")
    if start < 0:
        raise ToolCrashed(f"tls: sslyze gave up: {clean(text.strip(), 200)}")
    try:
        document, _ = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        is_cut = not text.rstrip().endswith("}")
        error = OutputTruncated if is_cut else OutputNotUnderstood
        raise error("tls: sslyze's report ends in the middle" if is_cut else "tls: sslyze wrote no JSON") from None
    try:
        return Report.model_validate(document)
    except ValidationError as errors:
        where = ".".join(str(part) for part in errors.errors()[0]["loc"])
        raise OutputNotUnderstood(f"tls: not a report of sslyze's: {clean(where, 100)}") from None
