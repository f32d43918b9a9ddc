"""What the estate's name servers know: the zone `pulsar.test`, what it points at, and the neighbours'.

Names are grouped by the one way in which each can be found. The odd endings (`-7kq`) keep a name out of every
wordlist, so that finding it proves that way and no other.
"""

from __future__ import annotations

from tests.estate import addresses as at

ROOT = "pulsar.test"
CORP = f"corp.{ROOT}"
"""The zone that its name server gives to anybody."""
NEIGHBOURS = "neighbour.test"
DANGLING = "pulsar-old-3kd.azurewebsites.net"
"""A name of a cloud that nobody holds any more: whoever registers it there gets ours."""

_WORDS = (
    "admin api app autodiscover backup billing chat cloud crm demo docs download erp forum gateway git gitlab help "
    "intranet jenkins jira lab ldap login media monitor monitoring mysql portal proxy remote shop sso staging static "
    "status store support test vpn webmail wiki"
)
BRUTE_FORCE = dict.fromkeys(_WORDS.split(), at.OFFICE) | {
    "www": at.WWW,
    "blog": at.WWW,
    "dev": at.DEV,
    "files": at.FILES,
    "ftp": at.FTP,
    "cache": at.CACHE,
    "mail": at.MAIL,
    "ns1": at.NS1,
    "ns2": at.NS2,
    "old": at.OLD_WEB,
    "bastion": at.BASTION,
    "secure": at.EXPIRED,
    "private": at.EXCLUDED,
}
"""Names in any wordlist."""
IN_CT_LOGS = {
    "legacy-ssh-7kq": at.LEGACY_SSH,
    "sessions-2vd": at.SESSIONS,
    "selfsigned-8mp": at.SELF_SIGNED,
    "mismatch-3fz": at.MISMATCHED,
    "expiring-6hw": at.EXPIRING,
    "oldssh-9rt": at.OLD_SSH,
    "oldftp-1yb": at.OLD_FTP,
    "tarpit-5xg": at.TARPIT,
    "flood-4nc": at.FLOOD,
    "hostile-2qj": at.HOSTILE,
    "silent-8we": at.SILENT,
    "shop.apps": at.SHOP,
}
"""Only certificates that were issued once tell of them: the stand-in of crt.sh lists these."""
IN_CERTIFICATES = {"ledger-a91": at.VAULT, "vault-k27": at.VAULT}
"""Only the certificate that `www` presents has them, as alternative names."""
IN_RECORDS = {"mx-7f3": at.MAIL2, "sip-4kq": at.OLD_MAIL, "spf-2gd": at.OLD_MAIL}
"""Only MX, SRV and SPF records have them."""
IN_TRANSFER = {"printer-4fl": at.PRINTER, "payroll-9xs": at.PRINTER, "ns": at.NS2}
"""Only a transfer of the zone `corp` has them (its name server is in NS records as well)."""
IN_REVERSE = {"node-72-xq": at.OFFICE}
"""Only the PTR record of an address in use has it: `office` and this one share the address."""

ALIASES = {
    "cdn": f"edge.{NEIGHBOURS}",
    "assets": ROOT,
    "old-shop-3kd": DANGLING,
}

RECORDS = f"""
{ROOT} SOA ns1.{ROOT}. hostmaster.{ROOT}. 2024051501 3600 600 86400 60
{ROOT} NS ns1.{ROOT}.
{ROOT} NS ns2.{ROOT}.
{ROOT} A {at.WWW}
{ROOT} AAAA {at.WEB6}
{ROOT} MX 10 mail.{ROOT}.
{ROOT} MX 20 mx-7f3.{ROOT}.
{ROOT} TXT "v=spf1 mx a:spf-2gd.{ROOT} +all"
{ROOT} TXT "welcome \\" =HYPERLINK(1) <b>"
_sip._tcp.{ROOT} SRV 10 5 5060 sip-4kq.{ROOT}.
www.{ROOT} AAAA {at.WEB6}
*.apps.{ROOT} A {at.OFFICE}
partner.{ROOT} A {at.PARTNER}
{CORP} SOA ns.{CORP}. hostmaster.{ROOT}. 7 3600 600 86400 60
{CORP} NS ns.{CORP}.
{NEIGHBOURS} SOA ns1.{NEIGHBOURS}. hostmaster.{NEIGHBOURS}. 3 3600 600 86400 60
edge.{NEIGHBOURS} A {at.NEIGHBOUR}
www.{NEIGHBOURS} A {at.NEIGHBOUR}
version.bind TXT "9.11.4"
o-o.myaddr.l.google.com TXT "10.53.0.1"
"""

HOSTS = BRUTE_FORCE | IN_CT_LOGS | IN_CERTIFICATES | IN_RECORDS | IN_REVERSE
"""Names directly below the root, or below one of its labels, with their address."""


def text() -> str:
    """The zones in the form that `name_server` reads."""
    lines = [f"{name}.{ROOT} A {address}" for name, address in HOSTS.items()]
    lines += [f"{name}.{CORP} A {address}" for name, address in IN_TRANSFER.items()]
    lines += [f"{name}.{ROOT} CNAME {target}." for name, target in ALIASES.items()]
    lines += [f"{_reverse(address)} PTR {name}." for address, name in POINTERS.items()]
    return "\n".join([RECORDS, *lines])


POINTERS = {
    at.WWW: f"www.{ROOT}",
    at.OFFICE: f"node-72-xq.{ROOT}",
    at.MAIL: f"mail.{ROOT}",
    at.HOSTILE: f"evil.{NEIGHBOURS}",
}
"""What addresses are called: one of them by a foreign name."""


def _reverse(address: str) -> str:
    return ".".join(reversed(address.split("."))) + ".in-addr.arpa"
