"""The estate's real servers, started in its namespace: nginx, OpenSSH twice, Redis, memcached and vsftpd."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from tests.estate import addresses as at
from tests.estate.namespaces import Side

START_SECONDS = 20.0
STOP_SECONDS = 5.0
Enter = Callable[[AbstractContextManager[Any]], Any]

NEEDED = {
    "nginx": "nginx",
    "sshd": "openssh-server",
    "redis-server": "redis-server",
    "memcached": "memcached",
    "vsftpd": "vsftpd",
}
"""Programs, with the package that has each."""

WEAK_SSH = """
Ciphers 3des-cbc,aes128-cbc,aes256-ctr
KexAlgorithms diffie-hellman-group1-sha1,diffie-hellman-group14-sha1,diffie-hellman-group14-sha256
HostKeyAlgorithms ssh-rsa,rsa-sha2-256
MACs hmac-md5,hmac-sha1,hmac-sha2-256
"""
GOOD_SSH = """
Ciphers chacha20-poly1305@openssh.com,aes256-gcm@openssh.com
KexAlgorithms sntrup761x25519-sha512@openssh.com,curve25519-sha256
MACs hmac-sha2-512-etm@openssh.com
PasswordAuthentication no
"""


def start(enter: Enter, side: Side, directory: Path, nginx: Sequence[str]) -> None:
    """Start them all, and wait until each listens. Raises `RuntimeError` where one does not."""
    commands = (
        (nginx, f"{at.OFFICE}:80"),
        (_ssh(directory / "modern", at.BASTION, "ed25519", GOOD_SSH), f"{at.BASTION}:22"),
        (_ssh(directory / "legacy", at.LEGACY_SSH, "rsa", WEAK_SSH), f"{at.LEGACY_SSH}:22"),
        (_redis(directory / "redis"), f"{at.CACHE}:6379"),
        (("memcached", "-l", at.SESSIONS, "-p", "11211", "-U", "0", "-u", "nobody"), f"{at.SESSIONS}:11211"),
        (_ftp(directory / "ftp"), f"{at.FTP}:21"),
    )
    log = directory / "programs.log"
    for argv, _ in commands:
        enter(_running(side, argv, log))
    _await_listening(side, {place for _, place in commands}, log)


@contextmanager
def _running(side: Side, argv: Sequence[str], log: Path) -> Iterator[None]:
    with log.open("ab") as out, side.popen(argv, stdout=out, stderr=out) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _await_listening(side: Side, places: set[str], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while absent := places - set(side.run(["ss", "-Hltn"]).stdout.split()):
        if time.monotonic() > until:
            raise RuntimeError(f"nobody listens on {', '.join(sorted(absent))}: {log.read_text()[-2000:]}")
        time.sleep(0.05)


def _ssh(directory: Path, address: str, kind: str, extra: str) -> Sequence[str]:
    directory.mkdir()
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own, which its package makes at boot
    key = directory / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", key], check=True, stdin=subprocess.DEVNULL)
    lines = (f"ListenAddress {address}:22", f"HostKey {key}", "PidFile none", "UsePAM no", "MaxStartups 100", extra)
    (directory / "sshd_config").write_text("\n".join(lines))
    return ["/usr/sbin/sshd", "-D", "-e", "-f", str(directory / "sshd_config")]


def _redis(directory: Path) -> Sequence[str]:
    directory.mkdir()
    words = ("--bind", at.CACHE, "--port", "6379", "--save", "", "--protected-mode", "no", "--dir", str(directory))
    return ["redis-server", *words]


def _ftp(directory: Path) -> Sequence[str]:
    for name in ("empty", "public"):
        (directory / name).mkdir(parents=True)
    settings = {
        "listen": "YES",
        "listen_address": at.FTP,
        "background": "NO",
        "anonymous_enable": "YES",
        "local_enable": "NO",
        "anon_root": directory / "public",
        "secure_chroot_dir": directory / "empty",
        "ftp_username": "daemon",  # its home exists: vsftpd goes there first
        "nopriv_user": "nobody",
        "xferlog_enable": "NO",
    }
    configuration = directory / "vsftpd.conf"
    configuration.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return ["vsftpd", str(configuration)]
