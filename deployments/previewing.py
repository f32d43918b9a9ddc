"""`pulsar scan --dry-run`: what a scan would do, asked of the platform, or told here where none runs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from deployments.home import find_api, home_store
from deployments.policy_command import policy_in_file
from deployments.preview_answers import Preview
from deployments.scanning import Wish
from footprint.admission import NewScan, admit, scope_of
from footprint.policy import ScanPolicy
from footprint.settings import Settings

if TYPE_CHECKING:
    from footprint.store import Store


def previewed(settings: Settings, wish: Wish) -> Preview:
    """What the scan would do. Raises `RequestError` where it would be refused."""
    api = find_api(settings)
    if api is None:
        return _previewed_here(settings, wish)
    with api:
        return api.preview(wish.target, wish.policy)


def _previewed_here(settings: Settings, wish: Wish) -> Preview:
    from pydantic import TypeAdapter

    from tasks import plan
    from tasks.preview import preview

    with home_store(settings) as store:
        new = _admitted(settings, store, wish)
        scope = scope_of(settings, new.target, new.policy, new.scope)
        planned = preview(new.target, new.policy, scope, settings, store)
    return Preview.model_validate(TypeAdapter(plan.Preview).dump_python(planned, mode="json"))


def _admitted(settings: Settings, store: Store, wish: Wish) -> NewScan:
    """The scan as the platform of this home would take it. Raises `RequestError` where it would not."""
    from footprint.store.assets import scope_for
    from tasks.authorization import require_authorization
    from tasks.policies import refuse_borrowed_name, usable_policy

    said = wish.policy if isinstance(wish.policy, str) else policy_in_file(wish.policy)
    with store.read() as session:
        if isinstance(said, ScanPolicy):
            refuse_borrowed_name(session, said)
        find, scoped = partial(usable_policy, session), partial(scope_for, session)
        new = admit(
            settings, target=wish.target, policy=said, comment=wish.comment, origin="api", find=find, scoped=scoped
        )
        require_authorization(session, settings, new)
    return new
