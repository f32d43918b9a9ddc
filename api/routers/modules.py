"""`/api/modules/`: what can be run, and what it takes."""

from __future__ import annotations

from dataclasses import asdict

from api.given import SettingsDep, StoreDep
from api.paging import Page, PagingDep
from api.routing import router
from api.schemas import ModuleStateOut
from tasks.inspection import inspect_modules

modules = router("modules")


@modules.get("/")
def list_modules(paging: PagingDep, settings: SettingsDep, store: StoreDep) -> Page[ModuleStateOut]:
    """The modules, as they are on the machine that answers."""
    found = [ModuleStateOut(**asdict(state)) for state in inspect_modules(settings, store)]
    return paging.of(found[paging.offset : paging.offset + paging.limit], len(found))
