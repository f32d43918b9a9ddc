"""Which of nmap's scripts may run: those that tell something, change nothing, and ask nobody but the target.

Nothing else can be asked for. What needs the internet is left out, and what another module does better: certificates,
SSH algorithms, web servers, open data stores, anonymous FTP. So are scripts that wait without need: ftp-syst, which
logs in and holds a unit up for 14 s, and ms-sql-info, which asks every host on UDP 1434 and waits 5 s for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from tasks.tool import Risk

TcpScript = Literal[
    "safe",
    "ajp-methods",
    "http-ntlm-info",
    "mysql-empty-password",
    "mysql-info",
    "nfs-showmount",
    "rdp-ntlm-info",
    "rpcinfo",
    "smb-os-discovery",
    "smb-protocols",
    "smb2-security-mode",
    "telnet-encryption",
    "vnc-info",
    "x11-access",
]
UdpScript = Literal[
    "safe",
    "dns-nsid",
    "nbstat",
    "ntp-info",
    "rpcinfo",
    "snmp-info",
    "snmp-sysdescr",
]
Transport = Literal["tcp", "udp"]
INTRUSIVE = frozenset({"mysql-empty-password"})
"""They try to log in; `safe` leaves them out."""
SCRIPT_SECONDS = 30
"""A script that takes longer is given up; what it said by then is not kept."""


def scripts_of(transport: Transport) -> tuple[str, ...]:
    """Every script of a transport, sorted."""
    known = get_args(TcpScript if transport == "tcp" else UdpScript)
    return tuple(sorted(name for name in known if name != "safe"))


def chosen(transport: Transport, asked: Sequence[str]) -> tuple[str, ...]:
    """The scripts that are asked for, sorted; `safe` stands for all that are."""
    safe = set(scripts_of(transport)) - INTRUSIVE if "safe" in asked else set[str]()
    return tuple(sorted(safe | (set(asked) - {"safe"})))


def running(transport: Transport, asked: Sequence[str]) -> tuple[str, ...]:
    """nmap's options that run them."""
    names = chosen(transport, asked)
    return ("--script", ",".join(names), "--script-timeout", f"{SCRIPT_SECONDS}s") if names else ()


def risk_of(transport: Transport, asked: Sequence[str]) -> Risk:
    """What they risk."""
    return Risk.INTRUSIVE if INTRUSIVE & set(chosen(transport, asked)) else Risk.SAFE
