"""Which certificates TLS services present, which protocols and ciphers they take, and which known flaws they have.

Asked with sslyze, a program of its own process (its licence is the AGPL: it is never imported). A target tells it name,
address and port, so that nothing is resolved again and the server is asked for the right name (SNI). It writes one
report when it is through with all of its targets: a host that holds it up takes the others' results along, so a unit
is about one address, and is given up after `host_timeout`.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from footprint.budget import Load
from footprint.errors import InvalidTarget
from footprint.records import Certificate, DomainName, Endpoint, Finding, Record
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.target import parse_name
from tasks.bounds import bounded
from tasks.effort import Effort, Sends
from tasks.tls_answers import parse
from tasks.tls_options import OPTIONS, TlsOptions, configure
from tasks.tool import Batch, Binary, Command, Intake, Risk, Tool

TARGETS = "targets"
MEGABYTES = 800
"""sslyze needs 400 for eight endpoints, and takes all there is before a mail server whose greeting never ends."""

CONNECTIONS = {"certificate": 6, "protocols": 165, "all": 174}
"""What an endpoint saw that takes every cipher."""
PACKETS = {"certificate": 42, "protocols": 2_750, "all": 2_850}
"""What an endpoint is sent at most, all of it within a second where it is near: measured, nginx with every cipher."""
SERVERS = 10
"""Endpoints that sslyze asks side by side."""

STARTTLS = {
    "smtp": "smtp",
    "submission": "smtp",
    "imap": "imap",
    "pop3": "pop3",
    "ftp": "ftp",
    "ldap": "ldap",
    "xmpp-client": "xmpp",
    "postgresql": "postgres",
}
"""How sslyze calls the ways into TLS of services as nmap names them."""

CHECKS: dict[str, tuple[str, ...]] = {
    "certificate": ("--certinfo",),
    "protocols": ("--sslv2", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3"),
    "all": ("--compression", "--openssl_ccs", "--heartbleed", "--robot", "--reneg"),
}
"""sslyze's options by what is asked for; each asks for what is above it, too."""


def load(batch: Batch, options: TlsOptions) -> Load:
    """All that endpoints are sent, since sslyze asks as fast as they answer."""
    packets = float(PACKETS[options.checks] * len(batch))
    connections = (2 if options.slow else 5) * min(len(batch), SERVERS)
    return Load(packets, packets, connections, connections)


def command(batch: Batch, options: TlsOptions) -> Command:
    """Ask for certificates, protocols and flaws of endpoints that go into TLS in the same way.

    Raises `InvalidTarget` for a record that is no endpoint with a sound address and name.
    """
    lines = [_line(record) for record in batch]
    starttls = _starttls(batch[0])
    argv = ["sslyze", "--json_out=-", f"--targets_in={TARGETS}"]
    for name, words in CHECKS.items():
        argv += words
        if name == options.checks:
            break
    argv += ["--slow_connection"] if options.slow else []
    argv += ["--starttls", starttls] if starttls else []
    argv += [f"--certinfo_ca_file={options.authorities}"] if options.authorities else []
    files = {TARGETS: "".join(f"{line}\n" for line in lines), OPTIONS: options.model_dump_json()}
    return Command(bounded(*argv, seconds=options.host_timeout, megabytes=MEGABYTES), files, keeps=(OPTIONS,))


def effort(batch: Batch, options: TlsOptions, scope: Scope) -> Effort:
    """Connections: one tells that there is no TLS after all."""
    return Effort(Sends.CONNECTIONS, len(batch), CONNECTIONS[options.checks] * len(batch))


def _line(record: Record) -> str:
    if not isinstance(record, Endpoint):
        raise InvalidTarget("tls: takes endpoints only")
    try:
        address = ip_address(record.address)
        name = None if record.name is None else parse_name(record.name)
    except ValueError:
        raise InvalidTarget("tls: a target of this unit is no address") from None
    if name != record.name or not 0 < record.port < 65536:
        raise InvalidTarget("tls: a target of this unit is no name and port as they are kept")
    host = name or (f"[{address}]" if address.version == 6 else str(address))
    return f"{host}:{record.port}{{{address}}}"


def _starttls(record: Record) -> str:
    if not isinstance(record, Endpoint) or not record.takes_starttls:
        return ""
    return STARTTLS[record.service or ""]


def installed(options: TlsOptions, settings: Settings, version: str) -> TlsOptions:
    """Options with the authorities that this installation trusts besides the public ones."""
    authorities = settings.tls_authorities
    return options.model_copy(update={"authorities": str(authorities)}) if authorities else options


TOOL = Tool(
    name="tls",
    summary="Reads certificates, and finds old protocols, weak ciphers and known flaws of TLS services.",
    risk=Risk.SAFE,
    accepts=(
        Intake(
            Endpoint,
            batch=8,
            key=lambda endpoint: (endpoint.address, endpoint.port, endpoint.name),
            lane=lambda endpoint: f"{_starttls(endpoint)} {endpoint.address}",
            where=lambda endpoint: endpoint.is_tls or endpoint.takes_starttls,
        ),
    ),
    produces=(Certificate, DomainName, Finding),
    options=TlsOptions,
    configure=configure,
    effort=effort,
    binary=Binary(
        name="sslyze",
        version_argv=("sslyze", "--help"),
        version_pattern=re.compile(r"SSLyze version (\d+(?:\.\d+)+)"),
        minimum=(6, 0),
        below=(7,),
        install="pip install sslyze",
    ),
    command=command,
    parse=parse,
    load=load,
    installed=installed,
)
