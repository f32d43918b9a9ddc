"""The extensions of an installation: a folder each in `PULSAR_HOME/extensions`, with a manifest and a script.

Folders that begin with a dot are half-made or half-removed ones; whoever writes next clears them away. A lock on the
directory keeps those that read from seeing a change half done.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from footprint.errors import Conflict, InvalidExtension, NotFound, PulsarError
from footprint.manifest import MANIFEST_NAME, NAME, NAME_LENGTH, Manifest, read_manifest, write_manifest
from footprint.text import clean

SCRIPT_BYTES, MANIFEST_BYTES = 1024 * 1024, 64 * 1024


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension that can be run: what it says of itself, and its script."""

    manifest: Manifest
    text: str

    @property
    def name(self) -> str:
        """What it is called."""
        return self.manifest.name


@dataclass(frozen=True, slots=True)
class Broken:
    """A folder that is no extension, and why."""

    name: str
    error: PulsarError


def installed(home: Path) -> list[Extension | Broken]:
    """All that is there, by name."""
    if not (directory := _directory(home)).is_dir():
        return []
    with _locked(directory, fcntl.LOCK_SH):
        return [_look(folder) for folder in sorted(directory.iterdir()) if not folder.name.startswith(".")]


def names_installed(home: Path) -> list[str]:
    """What is there, by name, without a look into it."""
    directory = _directory(home)
    return sorted(one.name for one in directory.iterdir() if one.name[0] != ".") if directory.is_dir() else []


def extension_named(home: Path, name: str) -> Extension:
    """One extension. Raises `NotFound`, or `InvalidExtension` where it cannot be run."""
    if not (folder := _folder(home, name)).is_dir():
        raise _unknown()
    with _locked(folder.parent, fcntl.LOCK_SH):
        return _read(folder)


def add(home: Path, extension: Extension) -> None:
    """Install an extension; it is there whole or not at all. Raises `Conflict` where the name is taken."""
    folder = _folder(home, extension.name)
    with _writing(home):
        if folder.exists():
            raise Conflict("there is an extension of that name", hint="replace it, or choose another name")
        draft = folder.with_name(f".new-{secrets.token_hex(8)}")
        draft.mkdir(mode=0o700)
        _fill(draft, extension)
        draft.rename(folder)


def replace(home: Path, extension: Extension) -> None:
    """Put an extension in the place of the one of its name. Raises `NotFound` where there is none."""
    folder = _folder(home, extension.name)
    with _writing(home):
        if not folder.is_dir():
            raise _unknown()
        _fill(folder, extension)
        kept = {MANIFEST_NAME, extension.manifest.script}
        for file in folder.iterdir():
            if file.name not in kept and not file.is_dir():
                file.unlink()


def remove(home: Path, name: str) -> None:
    """Remove an extension and all that is in its folder. Raises `NotFound`."""
    folder = _folder(home, name)
    with _writing(home):
        if not folder.is_dir() or folder.is_symlink():
            raise _unknown()
        gone = folder.with_name(f".gone-{secrets.token_hex(8)}")
        folder.rename(gone)
        shutil.rmtree(gone)


def _directory(home: Path) -> Path:
    return home / "extensions"


def _folder(home: Path, name: str) -> Path:
    if len(name) > NAME_LENGTH or not re.fullmatch(NAME, name):
        raise _unknown()
    return _directory(home) / name


def _unknown() -> NotFound:
    return NotFound("there is no extension of that name", hint="`pulsar extension list` shows them")


@contextmanager
def _locked(directory: Path, how: int) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _writing(home: Path) -> Iterator[None]:
    directory = _directory(home)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(directory, fcntl.LOCK_EX):
        for left in directory.glob(".*-*"):
            shutil.rmtree(left)
        yield


def _look(folder: Path) -> Extension | Broken:
    name = clean(folder.name, 64)
    try:
        return _read(folder)
    except PulsarError as error:
        return Broken(name, error)


def _read(folder: Path) -> Extension:
    manifest = read_manifest(_text(folder / MANIFEST_NAME, MANIFEST_BYTES))
    if manifest.name != folder.name:
        raise InvalidExtension(f"{MANIFEST_NAME}: the name is not that of its folder")
    return Extension(manifest, _text(folder / manifest.script, SCRIPT_BYTES))


def _text(path: Path, most: int) -> str:
    if not path.is_file():
        raise InvalidExtension(f"{path.name} is not there")
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise InvalidExtension(f"{path.name} cannot be read: {error.strerror}") from None
    if len(data) > most:
        raise InvalidExtension(f"{path.name} has more than {most // 1024} KiB")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidExtension(f"{path.name} is not text in UTF-8") from None


def _fill(folder: Path, extension: Extension) -> None:
    """Write both files, each whole or not at all, the script first: no manifest names a script that is not there."""
    manifest = extension.manifest
    for name, text in ((manifest.script, extension.text), (MANIFEST_NAME, write_manifest(manifest))):
        draft = folder / f".{name}.new"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / name)
