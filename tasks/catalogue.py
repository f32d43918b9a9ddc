"""Which modules there are: every file of this package that has a `TOOL`."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

import tasks
from footprint.errors import NotFound
from tasks.tool import Tool


@cache
def catalogue() -> dict[str, Tool]:
    """Every module by its name, sorted. Raises `ValueError` where a file's tool goes by another name than the file."""
    files = sorted(module.name for module in pkgutil.iter_modules(tasks.__path__))
    return {name: tool for name in files if (tool := _tool_in(name)) is not None}


def tool_named(name: str) -> Tool:
    """The module of that name, or raise `NotFound`."""
    try:
        return catalogue()[name]
    except KeyError:
        raise NotFound("there is no module of that name", hint=f"one of: {', '.join(catalogue())}") from None


def _tool_in(name: str) -> Tool | None:
    """A file's tool, or None where the file is plumbing."""
    tool: Tool | None = getattr(import_module(f"tasks.{name}"), "TOOL", None)
    if tool is not None and tool.name != name:
        raise ValueError(f"tasks/{name}.py: its TOOL is named {tool.name}")
    return tool
