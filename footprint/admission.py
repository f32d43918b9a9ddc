"""How a request becomes a scan: the target is read, the policy found and frozen, the scope asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from footprint.asset_scope import NOTHING_SAID, AssetScope, of_no_asset
from footprint.policy import ScanPolicy, policy_named
from footprint.records import DomainName, Host, Network, subject_of
from footprint.scope import Scope
from footprint.settings import Settings
from footprint.target import parse_target


@dataclass(frozen=True, slots=True)
class NewScan:
    """A request that may be carried out. `origin` is who asked: api, prefect or schedule.

    `schedule` is the schedule that asked, and at which of its times. `inline` is True where the policy came with the
    request, and False where it was named; `scope` is what assets say of its scope now.
    """

    target: DomainName | Host | Network
    policy: ScanPolicy
    comment: str
    origin: str
    task_id: UUID | None = None
    idempotency_key: str | None = None
    inline: bool = False
    scope: AssetScope = NOTHING_SAID
    schedule: tuple[UUID, int] | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of what was asked, to tell a repeated request from another one under the same key."""
        return digest_of(self.target, self.policy if self.inline else self.policy.name, self.comment)


def digest_of(target: DomainName | Host | Network, policy: str | ScanPolicy, comment: str) -> str:
    """SHA-256 of a request. A named policy counts by its name: what it says may be edited between two tries."""
    wanted = policy.model_dump(mode="json") if isinstance(policy, ScanPolicy) else policy
    return hashlib.sha256(json.dumps([subject_of(target), wanted, comment], sort_keys=True).encode()).hexdigest()


def admit(
    settings: Settings,
    *,
    target: str,
    policy: str | ScanPolicy,
    comment: str,
    origin: str,
    task_id: UUID | None = None,
    idempotency_key: str | None = None,
    find: Callable[[str], ScanPolicy] = policy_named,
    scoped: Callable[[DomainName | Host | Network], AssetScope] = of_no_asset,
    schedule: tuple[UUID, int] | None = None,
) -> NewScan:
    """Check a request for a scan. `policy` is a policy's name, which `find` looks up, or a policy of its own.

    `scoped` looks up what assets say of the scope of a target's scans.

    Raises `InvalidTarget`, `InvalidPolicy` or `TargetRefused`; nothing is resolved and nothing is sent.
    """
    inline = isinstance(policy, ScanPolicy)
    frozen = policy if isinstance(policy, ScanPolicy) else find(policy)
    wanted = parse_target(target)
    said = scoped(wanted)
    scope_of(settings, wanted, frozen, said).admit(wanted)
    return NewScan(
        wanted,
        frozen,
        comment,
        origin,
        task_id=task_id,
        idempotency_key=idempotency_key,
        inline=inline,
        scope=said,
        schedule=schedule,
    )


def scope_of(
    settings: Settings, target: DomainName | Host | Network, policy: ScanPolicy, said: AssetScope = NOTHING_SAID
) -> Scope:
    """The scope of a scan of this target on this installation, with what assets say of it."""
    return Scope(
        tuple(dict.fromkeys((target, *said.targets()))),
        allow=settings.scope_allow,
        exclude=settings.scope_exclude,
        max_addresses=min(policy.max_addresses, settings.max_addresses),
        asset_exclude=said.exclude,
    )
