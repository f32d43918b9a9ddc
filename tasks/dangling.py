"""Aliases of names that do not exist: whoever can have the lost name answers for ours.

Only what the DNS itself shows: a cloud's name that still resolves although nobody there holds it is not seen here.
"""

from __future__ import annotations

from footprint.records import Finding, Severity
from tasks.dns_records import fetch
from tasks.lookup import Answer, Lookup
from tasks.suffixes import registered_domain

REFERENCE = (
    "https://owasp.org/www-project-web-security-testing-guide/latest/4-Web_Application_Security_Testing/"
    "02-Configuration_and_Deployment_Management_Testing/10-Test_for_Subdomain_Takeover"
)
_COMPANIES = """
azurewebsites.net azurewebsites.us cloudapp.net cloudapp.azure.com trafficmanager.net azureedge.net azurefd.net
azure-api.net azurecontainer.io azurecr.io azurehdinsight.net azurestaticapps.net core.windows.net database.windows.net
servicebus.windows.net search.windows.net cache.windows.net
elasticbeanstalk.com s3.amazonaws.com github.io gitlab.io herokuapp.com herokudns.com herokussl.com netlify.app
netlify.com vercel.app pages.dev surge.sh readthedocs.io ghost.io zendesk.com myshopify.com wordpress.com
pantheonsite.io fly.dev onrender.com
"""
CHOSEN_BY_CUSTOMERS = frozenset(_COMPANIES.split())
"""Domains of companies below which a customer chooses the name, also one that another customer gave up."""


def lost_target(answer: Answer) -> str | None:
    """The name at the end of a name's aliases, where it does not exist."""
    lost = [trail.aliases[-1] for trail in answer.trails if trail.aliases and trail.rcode == "NXDOMAIN"]
    return lost[0] if lost else None


async def look(lookup: Lookup, answer: Answer) -> Finding | None:
    """The weakness of an alias that leads nowhere, if it is one; one more question may tell."""
    target = lost_target(answer)
    if target is None:
        return None
    severity, confidence, why = await _weight(lookup, answer.name, target)
    return Finding(
        "dns/dangling-cname",
        answer.name,
        title=f"An alias of {target}, which does not exist: {why}",
        severity=severity,
        confidence=confidence,
        evidence=f"{answer.name} CNAME {target}: the name servers answer NXDOMAIN",
        reference=REFERENCE,
    )


async def _weight(lookup: Lookup, name: str, target: str) -> tuple[Severity, float, str]:
    """How grave it is, how sure, and why: by who can have the lost name."""
    labels = target.split(".")
    above = (".".join(labels[cut:]) for cut in range(1, len(labels)))
    if company := next((each for each in above if each in CHOSEN_BY_CUSTOMERS), None):
        return Severity.HIGH, 0.8, f"any customer of {company} may take the name"
    domain = registered_domain(target)
    if domain is None or domain == registered_domain(name):
        return Severity.LOW, 0.9, "a name of the same domain, which only its holder can give away"
    if (await fetch(lookup, domain, "SOA")).rcode == "NXDOMAIN":
        return Severity.HIGH, 0.9, f"the whole domain {domain} is to be had"
    return Severity.MEDIUM, 0.5, f"whoever is given the name by {domain} can answer for ours"
