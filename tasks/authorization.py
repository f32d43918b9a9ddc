"""What is asked of the store before anything is sent: who has allowed it, and what was excluded meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from footprint.admission import NewScan
from footprint.area import Area
from footprint.asset_scope import AssetScope
from footprint.errors import NotAuthorized
from footprint.policy import ScanPolicy
from footprint.settings import Settings
from footprint.store.assets import exclusions_over
from footprint.store.authorizations import permitted
from footprint.store.scans import Begun
from tasks.catalogue import tool_named
from tasks.tool import Risk
from tasks.unit import pace_of


@dataclass(frozen=True, slots=True)
class InForce:
    """What holds as a unit begins: the scan's scope with what is excluded by now, and what may be looked at actively.

    `permitted` is None where this installation asks for no authorisation.
    """

    scope: AssetScope
    permitted: Area | None


def in_force(session: Session, scan: Begun, settings: Settings) -> InForce:
    """Look up what holds now for a scan that is under way."""
    scope = scan.scope.excluding(exclusions_over(session, (scan.target, *scan.scope.targets())))
    return InForce(scope, permitted(session, scan.target) if settings.require_authorization else None)


def require_authorization(session: Session, settings: Settings, new: NewScan) -> None:
    """Raise `NotAuthorized` where this installation asks for an authorisation, and an active scan has none."""
    active = active_modules(new.policy, settings) if settings.require_authorization else ()
    if active and not permitted(session, new.target).holds(new.target):
        modules = ", ".join(active)
        raise NotAuthorized(
            f"no authorisation that is valid now covers the target, and these modules are active: {modules}",
            hint="POST it to /api/assets/{id}/authorizations/, or take a policy whose modules are passive",
        )


def active_modules(policy: ScanPolicy, settings: Settings) -> tuple[str, ...]:
    """The modules of a policy that send something to the target, with the options that it gives them."""
    pace = pace_of(policy, settings.own_ports)
    tools = {tool_named(name).here(settings): options for name, options in policy.modules.items()}
    return tuple(
        tool.name for tool, options in tools.items() if tool.risk_of(tool.configure(options, pace)) is not Risk.PASSIVE
    )
