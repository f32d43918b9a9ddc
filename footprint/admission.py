"""How a request becomes a scan: the target is read, the policy found and frozen, the scope asked."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from uuid import UUID

from footprint.policy import ScanPolicy, policy_named
from footprint.records import DomainName, Host, Network, subject_of
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.target import parse_target


@dataclass(frozen=True, slots=True)
class NewScan:
    """A request that may be carried out. `origin` is who asked: api, prefect or schedule."""

    target: DomainName | Host | Network
    policy: ScanPolicy
    comment: str
    origin: str
    task_id: UUID | None = None
    idempotency_key: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of what was asked, to tell a repeated request from another one under the same key."""
        asked = [subject_of(self.target), self.policy.name, self.comment]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def admit(
    settings: Settings,
    *,
    target: str,
    policy: str,
    comment: str,
    origin: str,
    task_id: UUID | None = None,
    idempotency_key: str | None = None,
) -> NewScan:
    """Check a request for a scan.

    Raises `InvalidTarget`, `InvalidPolicy` or `TargetRefused`; nothing is resolved and nothing is sent.
    """
    frozen = policy_named(policy)
    wanted = parse_target(target)
    scope_of(settings, wanted, frozen).admit(wanted)
    return NewScan(wanted, frozen, comment, origin, task_id=task_id, idempotency_key=idempotency_key)


def scope_of(settings: Settings, target: DomainName | Host | Network, policy: ScanPolicy) -> Scope:
    """The scope of a scan of this target on this installation."""
    return Scope.for_target(
        target,
        allow=settings.scope_allow,
        exclude=settings.scope_exclude,
        max_addresses=min(policy.max_addresses, settings.max_addresses),
    )
