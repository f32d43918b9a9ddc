"""Where everything of the estate is: its own net, the one beside it that is none of ours, and which host is what."""

from __future__ import annotations

NET, NET6 = "10.87.0.0/24", "fd87::/64"
"""What the scan may touch."""
BESIDE = "10.88.0.0/24"
"""The neighbour's: names of ours lead there, and nothing may be sent to it."""

WWW, WEB6 = "10.87.0.10", "fd87::10"
EXPIRED = "10.87.0.11"
SELF_SIGNED = "10.87.0.12"
MISMATCHED = "10.87.0.13"
EXPIRING = "10.87.0.14"
FILES = "10.87.0.15"
DEV = "10.87.0.16"
VAULT = "10.87.0.17"
BASTION = "10.87.0.20"
LEGACY_SSH = "10.87.0.21"
MAIL = "10.87.0.25"
MAIL2 = "10.87.0.26"
CACHE = "10.87.0.30"
SESSIONS = "10.87.0.31"
FTP = "10.87.0.32"
OLD_SSH = "10.87.0.40"
OLD_FTP = "10.87.0.41"
OLD_MAIL = "10.87.0.42"
OLD_WEB = "10.87.0.43"
PRINTER = "10.87.0.44"
NS1, NS2 = "10.87.0.53", "10.87.0.54"
TARPIT = "10.87.0.60"
FLOOD = "10.87.0.61"
HOSTILE = "10.87.0.62"
SILENT = "10.87.0.63"
EXCLUDED = "10.87.0.66"
OFFICE = "10.87.0.70"
SHOP = "10.87.0.71"
NEIGHBOUR, PARTNER = "10.88.0.10", "10.88.0.20"

ESTATE = (
    WWW, WEB6, EXPIRED, SELF_SIGNED, MISMATCHED, EXPIRING, FILES, DEV, VAULT, BASTION, LEGACY_SSH, MAIL, MAIL2, CACHE,
    SESSIONS, FTP, OLD_SSH, OLD_FTP, OLD_MAIL, OLD_WEB, PRINTER, NS1, NS2, TARPIT, FLOOD, HOSTILE, SILENT, OFFICE, SHOP,
)  # fmt: skip
FORBIDDEN = (EXCLUDED, NEIGHBOUR, PARTNER)
"""They are there and would answer; they must not see one packet."""
_BUILT_IN = (
    "8.8.8.8 1.1.1.1 9.9.9.9 208.67.222.222 84.200.69.80 64.6.64.6 8.26.56.26 205.171.3.65 134.195.4.2 185.228.168.9 "
    "76.76.19.19 37.235.1.177 77.88.8.1 94.140.14.140 38.132.106.139 74.82.42.42 76.76.2.0"
)
PUBLIC_RESOLVERS = tuple(_BUILT_IN.split())
"""The resolvers that are built into Amass 4, which no option replaces: name servers of the estate's answer there."""
EVERY = (*ESTATE, *FORBIDDEN, *PUBLIC_RESOLVERS)
