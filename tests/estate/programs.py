"""The estate's real servers, started in its namespace: nginx, OpenSSH twice, Redis, memcached and vsftpd."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests.estate import addresses as at
from tests.estate import sites
from tests.estate.daemons import WEAK_SSH, Daemon, memcached, program_path, redis, running, sshd, vsftpd
from tests.estate.namespaces import Side

PROGRAMS = ("nginx", "sshd", "redis-server", "memcached", "vsftpd")


def start(enter: Callable[[AbstractContextManager[Any]], Any], side: Side, directory: Path, certificates: Path) -> None:
    """Start them all; each listens when this returns. Raises `RuntimeError` where one does not."""
    for daemon in _daemons(directory, certificates):
        enter(running(daemon, prefix=side.prefix))


def _daemons(directory: Path, certificates: Path) -> Iterator[Daemon]:
    argv = sites.write(directory / "sites", certificates)
    yield Daemon((program_path("nginx") or "nginx", *argv), at.OFFICE, 80, directory / "nginx.log")
    yield sshd(at.BASTION, 22, _made(directory / "modern"))
    yield sshd(at.LEGACY_SSH, 22, _made(directory / "legacy"), extra=WEAK_SSH, key="rsa")
    yield redis(at.CACHE, 6379, _made(directory / "redis"))
    yield memcached(at.SESSIONS, 11211, _made(directory / "memcached"))
    yield vsftpd(at.FTP, 21, _made(directory / "ftp"))


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory
