"""What differs in the recurring estate from one look to the next: exactly this, and nothing beside it."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.estate.recurring_estate import DEV, MAIL, OLD, ROOT, SHOP, WWW, RecurringEstate

HEADERS = "http_probe/security-headers {} (Its pages lack headers that have browsers protect visitors)"
VERSION = "http_probe/server-version {} (It tells the version of its software)"


def after_the_change(estate: RecurringEstate) -> list[str]:
    """What `RecurringEstate.change` did.

    That a name is gone says of the address that it is ours no more, and not what listens there since.
    """
    shop, old = f"{SHOP}:80/tcp", f"{OLD}:80/tcp"
    return [
        f"new domain shop.{ROOT}",
        f"gone domain old.{ROOT}",
        f"new host {SHOP}",
        f"gone host {OLD}",
        f"new service {DEV}:6379/tcp",
        f"new service {shop}",
        f"changed service {MAIL}:25/tcp: product Postfix smtpd -> Exim smtpd; version None -> 4.97;"
        " cpes ['cpe:/a:postfix:postfix'] -> ['cpe:/a:exim:exim:4.97']",
        f"gone service {MAIL}:21/tcp",
        f"not_looked_at service {old}",
        *(_renewal(estate, name) for name in ("", f"{ROOT}@", f"www.{ROOT}@")),
        f"new web_page http://{SHOP}/",
        f"new web_page http://shop.{ROOT}/",
        f"gone web_page http://old.{ROOT}/",
        f"not_looked_at web_page http://{OLD}/",
        *(f"new finding {flaw.format(shop)}" for flaw in (HEADERS, VERSION)),
        *(f"not_looked_at finding {flaw.format(old)}" for flaw in (HEADERS, VERSION)),
    ]


def after_the_outage() -> list[str]:
    """What ended while nmap was broken: a scan that cannot look does not hide it from the next that can."""
    return [f"gone service {DEV}:22/tcp"]


def _renewal(estate: RecurringEstate, name: str) -> str:
    first, renewed = map(_read, (estate.certificate("first"), estate.certificate("renewed")))
    fields = zip(("fingerprint", "not_before", "not_after"), first, renewed, strict=True)
    steps = "; ".join(f"{field} {before} -> {after}" for field, before, after in fields)
    return f"changed certificate {name}{WWW}:443/tcp {renewed[0]}: {steps}"


def _read(pem: bytes) -> tuple[str, str, str]:
    certificate = x509.load_pem_x509_certificate(pem)
    valid = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return certificate.fingerprint(hashes.SHA256()).hex(), valid[0].isoformat(), valid[1].isoformat()
