"""Which names there are below a domain: what public data sources know of it, and on request what can be guessed.

OWASP Amass, three generations of it, told apart by their version. Each is run in a home of its own, so no
configuration of a user's or the machine's counts; none is asked for more than one domain at a time.

- 3 (`-json`): names with addresses, but not by which alias: the names are kept, and resolved by the module dns.
- 4 (the one that `make tools` builds): triples with aliases and addresses. Takes no choice of data sources, although
  it has options for that.
- 5: an engine with a database, and its addresses are partly those of mail and name servers: the names are kept.

All three ask public resolvers (8.8.8.8 and others, built in) besides those they are given, and send every query that
finds something to them as well. Amass 3 and 4 refuse name servers that do not resolve a name of Google's.
"""

from __future__ import annotations

import re
import signal
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from footprint.errors import InstallationError, InvalidTarget
from footprint.records import DomainName, Host
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.target import parse_name
from tasks.amass_output import FOUND, LOG, NAMES, parse
from tasks.dns import servers_of
from tasks.effort import Effort, Sends
from tasks.tool import Batch, Binary, Command, Intake, Pace, Risk, Tool

ROOTS, WORDS, RESOLVERS, CONFIG, SCRIPT = "roots", "words", "resolvers", "config", "enumerate.sh"

PATIENCE = 0.9
"""The part of a unit's time that an enumeration may take: Amass needs some more to write down what it knows."""

EMPTY_CONFIG = {3: "[data_sources]\n", 4: "{}\n"}
"""Given to Amass, it reads no other: one in /etc/amass may hold domains that nobody asked for."""

Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$", max_length=63)]

_WORDS = (
    "www mail smtp imap pop webmail mx mx1 mx2 ns ns1 ns2 dns ftp sftp vpn remote gateway gw proxy api app apps admin "
    "portal intranet extranet dev test stage staging prod demo beta old new backup blog shop store cdn static assets "
    "img media files download docs wiki help support status monitor git gitlab jenkins ci jira confluence sso login "
    "auth id ldap db mysql sql redis cache search cloud m mobile web www2 server host router firewall office exchange "
    "owa autodiscover lyncdiscover sip voip chat meet crm erp billing pay secure ssl bastion ssh jump"
)
SMALL = tuple(_WORDS.split())
"""Words that mode brute tries where none are given."""

ENGINE = """\
# Runs Amass 5: its engine, an enumeration of at most $1 seconds, and what came of it.
# The engine has one port for the whole machine, so the enumerations of one installation take turns.
listeners() { awk '$2 ~ /:0FA0$/ && $4 == "0A" { print $10 }' /proc/net/tcp /proc/net/tcp6 2>/dev/null; }
is_ours() {
    for socket in $(listeners); do ls -l "/proc/$engine/fd" | grep -qF "socket:[$socket]" && return; done
    false
}
: >names
exec 9>../amass-engine.lock
flock 9 || exit 3
# The lock of the enumeration before is free a moment before its engine is gone.
looks=25
while [ -n "$(listeners)" ]; do
    looks=$((looks - 1))
    if [ "$looks" -eq 0 ]; then
        echo 'port 4000 is taken: another Amass engine may be running on this machine' >&2
        exit 3
    fi
    sleep 0.2
done
amass engine -nocolor -log-dir . >engine 2>&1 9>&- &
engine=$!
until is_ours 2>/dev/null; do
    kill -0 "$engine" 2>/dev/null || { cat engine >&2; exit 3; }
    sleep 0.2
done
timeout --signal INT --kill-after 10 "$1" \\
    amass enum -df roots -rigid -nocolor -timeout 1440 >enum 2>errors 9>&-
ended=$?
amass subs -names -df roots -nocolor >names 2>>errors 9>&- || exit 3
[ "$ended" -eq 137 ] && ended=124
[ "$ended" -eq 0 ] || [ "$ended" -eq 124 ] || tail -c 300 errors >&2
[ "$ended" -ne 0 ] || echo 'The enumeration has finished'
exit "$ended"
"""


class Gait(NamedTuple):
    """What an intensity means: queries a second to our name servers, and to each of Amass's own public ones."""

    rate: int
    public_rate: int


INTENSITY = (Gait(5, 1), Gait(20, 2), Gait(50, 5), Gait(200, 10), Gait(500, 15), Gait(1_000, 25))


class AmassOptions(BaseModel):
    """How Amass looks. What is not given follows from the policy's intensity and time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["passive", "brute", "active"] = Field(
        default="passive",
        description="passive: data sources, and DNS. brute: also guesses names. active: also asks for zone transfers "
        "and opens web pages of names it found, at addresses that no exclusion was held against. "
        "Amass 5 takes passive only.",
    )
    words: tuple[Label, ...] = Field(
        default=(), max_length=20_000, description="Labels that mode brute tries; a small list of ours else."
    )
    rate: int = Field(default=50, ge=1, le=5_000, description="DNS queries a second to our name servers, in all.")
    public_rate: int = Field(
        default=5, ge=1, le=100, description="DNS queries a second to each public resolver that is built into Amass."
    )
    seconds: int = Field(
        default=3240,
        ge=1,
        le=86400,
        description="Seconds after which Amass is to end; always less than the policy's unit_timeout.",
    )
    allow_open_engine: bool = Field(
        default=False,
        description="Run Amass 5, whose engine listens on port 4000 of all addresses and takes orders from anybody.",
    )
    version: int = Field(default=4, ge=3, le=5, description="Amass's generation: set by the worker that runs the scan.")
    resolvers: tuple[Annotated[str, Field(max_length=64)], ...] = Field(
        default=(), max_length=64, description="Name servers to ask: set by the worker, from PULSAR_RESOLVERS."
    )


def configure(options: dict[str, Any], pace: Pace) -> AmassOptions:
    """Complete the policy's options with what its intensity and time mean; raises pydantic's `ValidationError`."""
    patience = max(1, int(pace.unit_timeout * PATIENCE))
    chosen = AmassOptions.model_validate({**INTENSITY[pace.intensity]._asdict(), "seconds": patience, **options})
    return chosen.model_copy(update={"seconds": min(chosen.seconds, patience)})


def effort(batch: Batch, options: AmassOptions, scope: Scope) -> Effort:
    """Queries: as many as names are found, to name servers and to the public's data sources."""
    return Effort(Sends.QUERIES, len(batch), None, options.rate)


def installed(options: AmassOptions, settings: Settings, version: str) -> AmassOptions:
    """Options for the Amass that is here. Raises `InstallationError` where it cannot do what they ask, or only badly.

    Without name servers, Amass 3 and 4 would fetch a list of some thousand open ones and ask those.
    """
    generation = min(int(version.partition(".")[0]), 5)
    if generation == 5:
        _check_engine(options, version)
        return options.model_copy(update={"version": 5, "resolvers": ()})
    servers = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in servers_of(settings.resolvers))
    return options.model_copy(update={"version": generation, "resolvers": tuple(servers)})


def _check_engine(options: AmassOptions, version: str) -> None:
    if options.mode != "passive":
        raise InstallationError(
            f"amass: version {version} does not guess names, and connects where no exclusion was held against",
            hint="make tools (version 4), or mode passive",
        )
    if not options.allow_open_engine:
        raise InstallationError(
            f"amass: the engine of version {version} takes orders from anybody, on port 4000 of all addresses",
            hint="make tools (version 4), or the option allow_open_engine where a firewall is in front",
        )


def command(batch: Batch, options: AmassOptions) -> Command:
    """Ask for what is below one domain; it travels in a file. Raises `InvalidTarget` for what is no DNS name."""
    roots = "".join(f"{_name_of(record)}\n" for record in batch)
    if options.version == 5:
        argv: tuple[str, ...] = ("sh", SCRIPT, str(options.seconds))
        return Command(argv, {ROOTS: roots, SCRIPT: ENGINE}, keeps=(NAMES,), stop_signal=signal.SIGINT)
    files = {ROOTS: roots, CONFIG: EMPTY_CONFIG[options.version]}
    argv = ("timeout", "--signal", "INT", str(options.seconds), "amass", "enum", "-df", ROOTS, "-config", CONFIG)
    argv = (*argv, "-dir", "data", "-log", LOG, "-nocolor", "-norecursive", *_rates(options))
    if options.resolvers:
        files[RESOLVERS] = "".join(f"{server}\n" for server in options.resolvers)
        argv = (*argv, "-rf", RESOLVERS)
    if options.mode == "brute":
        files[WORDS] = "".join(f"{word}\n" for word in options.words or SMALL)
    keeps = (LOG, FOUND) if options.version == 3 else (LOG,)
    return Command((*argv, *_manner(options)), files, keeps=keeps, stop_signal=signal.SIGINT)


def _name_of(record: object) -> str:
    if not isinstance(record, DomainName):
        raise InvalidTarget("amass: takes domains only")
    return parse_name(record.name)


def _rates(options: AmassOptions) -> tuple[str, ...]:
    each = max(1, options.rate // max(1, len(options.resolvers)))
    return ("-dns-qps", str(options.rate), "-rqps", str(each), "-trqps", str(options.public_rate))


def _manner(options: AmassOptions) -> tuple[str, ...]:
    writes = ("-json", FOUND) if options.version == 3 else ()
    match options.mode:
        case "brute":
            return (*writes, "-brute", "-w", WORDS)
        case "active":
            return (*writes, "-active")
        case _:
            # Version 4 has given it up, and asks for services and pointers as well.
            return (*writes, "-passive") if options.version == 3 else writes


def risk_with(options: AmassOptions) -> Risk:
    """Guesses reach the domain's name servers; mode active opens connections of its own to what it found."""
    return {"passive": Risk.PASSIVE, "brute": Risk.SAFE, "active": Risk.INTRUSIVE}[options.mode]


TOOL = Tool(
    name="amass",
    summary="Collects names below a domain from public data sources (OWASP Amass), and guesses more on request.",
    risk=Risk.PASSIVE,
    accepts=(Intake(DomainName, batch=1, key=lambda domain: domain.name, roots_only=True),),
    produces=(DomainName, Host),
    options=AmassOptions,
    configure=configure,
    effort=effort,
    binary=Binary(
        name="amass",
        version_argv=("amass", "-version"),
        version_pattern=re.compile(r"v(\d+(?:\.\d+)+)"),
        minimum=(3, 23),
        install="make tools (needs Go), or a release of github.com/owasp-amass/amass",
        below=(5, 2),
        usual="4.2",
    ),
    command=command,
    parse=parse,
    installed=installed,
    own_options=("version", "resolvers"),
    risk_with=risk_with,
)
