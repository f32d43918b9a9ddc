"""The stand-in for nmap, put where tools are looked for first, and what it plays."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

ACTOR = Path(__file__).with_name("actor.py")


class Stage:
    """A directory with a program `nmap` in it. What it says of an address is put down by `play`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._plays = directory / "plays"
        self._plays.mkdir(parents=True)
        (directory / "held").mkdir()
        self._install("nmap", f"#!{sys.executable} -IS\n{ACTOR.read_text()}")

    def play(self, address: str, ports: Iterable[int], act: str | None = None, at: str = "versions") -> None:
        """Have it say that these ports are open; and misbehave at a question: discovery, ports or versions."""
        draft = self._plays.with_name("draft")
        draft.write_text(json.dumps({"ports": sorted(ports), "act": act, "at": at}))
        draft.replace(self._plays / address)

    def held(self, address: str) -> Path:
        """The file that is there once the tool waits, as it was told to, with this address."""
        return self.directory / "held" / address

    @contextmanager
    def with_file(self, name: str, text: str, mode: int = 0o755) -> Iterator[None]:
        """Another program, or a word to the actor, for as long as the block lasts."""
        self._install(name, text, mode)
        try:
            yield
        finally:
            (self.directory / name).unlink()

    def _install(self, name: str, text: str, mode: int = 0o755) -> None:
        draft = self.directory / f"{name}.draft"
        draft.write_text(text)
        draft.chmod(mode)
        draft.replace(self.directory / name)


def command_of(pid: int) -> list[bytes]:
    """The words a process was started with; none where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def name_of(pid: int) -> str:
    """What a process calls itself."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def parent_of(pid: int) -> int:
    """The process that a process came from."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def tree_below(root: int) -> list[int]:
    """A process and all that came of it, parents first."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                children.setdefault(parent_of(int(entry.name)), []).append(int(entry.name))
            except OSError:
                continue
    found, waiting = [], [root]
    while waiting:
        found.append(pid := waiting.pop(0))
        waiting += children.get(pid, [])
    return found
