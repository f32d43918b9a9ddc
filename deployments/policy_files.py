"""Policies in files, for the `pulsar` command: JSON, or TOML where the file is called so."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from footprint.errors import RequestError

STDIN = "-"
INLINE_MARK = "@"
MOST_BYTES = 64 * 1024
"""What the API takes."""


def policy_given(said: str) -> str | dict[str, Any]:
    """What `--policy` means: a policy's name, or the one in the file that `@FILE` names."""
    return read_policy_file(said.removeprefix(INLINE_MARK)) if said.startswith(INLINE_MARK) else said


def read_policy_file(name: str) -> dict[str, Any]:
    """The object in a file, or on stdin (`-`), not checked yet. Raises `RequestError`."""
    try:
        raw = sys.stdin.buffer.read(MOST_BYTES + 1) if name == STDIN else _start_of(Path(name))
    except OSError as error:
        raise RequestError(f"the policy's file cannot be read: {error.strerror}") from None
    if len(raw) > MOST_BYTES:
        raise RequestError("the policy's file is too large", hint=f"at most {MOST_BYTES // 1024} KiB")
    return _parsed(raw, is_toml=name.endswith(".toml"))


def _start_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST_BYTES + 1)


def _parsed(raw: bytes, *, is_toml: bool) -> dict[str, Any]:
    try:
        said = tomllib.loads(raw.decode()) if is_toml else json.loads(raw.decode(), object_pairs_hook=_once)
        # TOML has times, and both readers take numbers that JSON does not have.
        json.dumps(said, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError):
        kind = "TOML with JSON's kinds of values" if is_toml else "strict JSON (a file in TOML is called .toml)"
        raise RequestError(f"the policy's file is not {kind}") from None
    if not isinstance(said, dict):
        raise RequestError("the policy's file holds no object", hint='such as {"name": "mine", "modules": {"dns": {}}}')
    return said


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)
