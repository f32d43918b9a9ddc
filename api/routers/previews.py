"""`/api/policies/…/preview/`: what a scan would do, before it is asked for. Nothing is sent, and nothing is kept."""

from __future__ import annotations

from api.given import DeskDep
from api.preview_schemas import FreePreviewRequest, PreviewRequest
from api.routers.policies import Name
from api.routing import router
from tasks.plan import Preview

previews = router("policies")


@previews.post("/preview/")
async def preview_any_policy(asked: FreePreviewRequest, desk: DeskDep) -> Preview:
    """What a scan of a target would do, with a policy that is named or comes along. Nothing is sent."""
    return await desk.preview(asked.target, asked.policy)


@previews.post("/{name}/preview/")
async def preview_policy(name: Name, asked: PreviewRequest, desk: DeskDep) -> Preview:
    """What a scan of a target would do with this policy: modules, commands, amounts, time. Nothing is sent."""
    return await desk.preview(asked.target, name, of=name)
