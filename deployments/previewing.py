"""`pulsar scan --dry-run`: what a scan would do, asked of the platform, or told here where none runs."""

from __future__ import annotations

from functools import partial

from deployments.home import find_api, home_store
from deployments.policy_command import policy_here, policy_in_file
from deployments.preview_answers import Preview
from deployments.scanning import Wish
from footprint.admission import admit, scope_of
from footprint.settings import Settings


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

    said = wish.policy if isinstance(wish.policy, str) else policy_in_file(wish.policy)
    find = partial(policy_here, settings)
    new = admit(settings, target=wish.target, policy=said, comment=wish.comment, origin="api", find=find)
    with home_store(settings) as store:
        planned = preview(new.target, new.policy, scope_of(settings, new.target, new.policy), settings, store)
    return Preview.model_validate(TypeAdapter(plan.Preview).dump_python(planned, mode="json"))
