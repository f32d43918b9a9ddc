"""`/api/extensions/`: the scripts of this installation that scans run in a sandbox.

To install one is an administrator's right, which every token has: there are no lesser ones yet.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Request, Response

from api.extension_schemas import ExtensionOut, ExtensionRequest, ExtensionWithText
from api.given import SettingsDep
from api.paging import Page, PagingDep
from api.routing import router
from footprint.errors import Conflict
from footprint.extensions import add, extension_named, installed, remove, replace

extensions = router("extensions")
NameInPath = Annotated[str, Path(max_length=64)]


@extensions.get("/")
def list_extensions(paging: PagingDep, settings: SettingsDep) -> Page[ExtensionOut]:
    """The extensions that are installed, without their scripts."""
    found = [ExtensionOut.of(one) for one in installed(settings.home)]
    return paging.of(found[paging.offset : paging.offset + paging.limit], len(found))


@extensions.post("/", status_code=201)
def create_extension(
    asked: ExtensionRequest, request: Request, response: Response, settings: SettingsDep
) -> ExtensionOut:
    """Install an extension. Scans that begin from now on run it, where their policy has the module `extension`."""
    extension = asked.extension()
    add(settings.home, extension)
    response.headers["Location"] = str(request.url_for("read_extension", name=extension.name))
    return ExtensionOut.of(extension)


@extensions.get("/{name}/")
def read_extension(name: NameInPath, settings: SettingsDep) -> ExtensionWithText:
    """One extension, and its script."""
    extension = extension_named(settings.home, name)
    return ExtensionWithText(manifest=ExtensionOut.of(extension), text=extension.text)


@extensions.put("/{name}/")
def replace_extension(name: NameInPath, asked: ExtensionRequest, settings: SettingsDep) -> ExtensionOut:
    """Put another in the place of an extension of the same name."""
    if asked.name != name:
        raise Conflict("the name in the body is not that of the address")
    extension = asked.extension()
    replace(settings.home, extension)
    return ExtensionOut.of(extension)


@extensions.delete("/{name}/", status_code=204)
def delete_extension(name: NameInPath, settings: SettingsDep) -> None:
    """Remove an extension. What it found stays."""
    remove(settings.home, name)
