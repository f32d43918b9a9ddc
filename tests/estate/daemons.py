"""Real servers in the foreground, each where it is told: Redis, memcached, vsftpd, OpenSSH, nginx.

    with running(redis("127.0.0.1", port, directory)):
        ...
    with running(sshd("10.0.0.2", 22, directory), prefix=("ip", "netns", "exec", "there")):
        ...

Each takes the address and the port it listens on, and a directory that exists, is its own, and is left to the caller.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 20.0
STOP_SECONDS = 5.0

PACKAGES = {
    "redis-server": "redis-server",
    "memcached": "memcached",
    "vsftpd": "vsftpd",
    "sshd": "openssh-server",
    "nginx": "nginx",
    "openssl": "openssl",
}
"""Programs, with the Debian package that has each."""

WEAK_SSH = """
Ciphers 3des-cbc,aes128-cbc,aes256-ctr
KexAlgorithms diffie-hellman-group1-sha1,diffie-hellman-group14-sha1,diffie-hellman-group14-sha256
HostKeyAlgorithms ssh-rsa,rsa-sha2-256
MACs hmac-md5,hmac-sha1,hmac-sha2-256
"""
GOOD_SSH = """
Ciphers chacha20-poly1305@openssh.com,aes256-gcm@openssh.com
KexAlgorithms sntrup761x25519-sha512@openssh.com
MACs hmac-sha2-512-etm@openssh.com
PasswordAuthentication no
"""


@dataclass(frozen=True, slots=True)
class Daemon:
    """What to start, and where it listens then. `log` takes what it writes."""

    argv: tuple[str, ...]
    address: str
    port: int
    log: Path

    @property
    def place(self) -> str:
        """`address:port`, the address of IPv6 in brackets, as `ss` prints it."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def lacking(*programs: str) -> str | None:
    """Why these programs cannot be started here, or None."""
    missing = [PACKAGES[program] for program in programs if program_path(program) is None]
    return f"not installed: apt-get install {' '.join(missing)}" if missing else None


def program_path(program: str) -> str | None:
    """Where a program is; those for administrators may not be in a user's PATH."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin")


@contextmanager
def running(daemon: Daemon, *, prefix: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """Run a daemon until the context is left; entered once it listens. `prefix` goes before its argument list.

    Raises `RuntimeError` where it ends, or does not listen within `START_SECONDS`.
    """
    with daemon.log.open("ab") as log, subprocess.Popen(
        [*prefix, *daemon.argv], stdin=subprocess.DEVNULL, stdout=log, stderr=log
    ) as process:  # fmt: skip
        try:
            _await_listening(daemon, process, prefix)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _await_listening(daemon: Daemon, process: subprocess.Popen[bytes], prefix: Sequence[str]) -> None:
    until = time.monotonic() + START_SECONDS
    while daemon.place not in _listened_on(prefix):
        if process.poll() is not None or time.monotonic() > until:
            said = daemon.log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{daemon.argv[0]} does not listen on {daemon.place}: {said}")
        time.sleep(0.05)


def _listened_on(prefix: Sequence[str]) -> set[str]:
    return set(subprocess.run([*prefix, "ss", "-Hltn"], check=True, capture_output=True, text=True).stdout.split())


def redis(address: str, port: int, directory: Path, *, password: str | None = None) -> Daemon:
    """Redis for anybody, or for those with the password."""
    words = ["--bind", address, "--port", str(port), "--save", "", "--protected-mode", "no", "--dir", str(directory)]
    if password:
        words += ["--requirepass", password]
    return Daemon((_found("redis-server"), *words), address, port, directory / "redis.log")


def memcached(
    address: str, port: int, directory: Path, *, password: str | None = None, protocol: str = "auto"
) -> Daemon:
    """memcached over TCP only, for anybody or for those with the password: with one, `protocol` must be `ascii`.

    It is `binary` or `auto` else.
    """
    words = ["-l", address, "-p", str(port), "-U", "0", "-m", "8", "-t", "1", "-u", "nobody", "-B", protocol]
    if password:
        users = directory / "users"
        users.write_text(f"somebody:{password}\n")
        words += ["-Y", str(users)]
    return Daemon((_found("memcached"), *words), address, port, directory / "memcached.log")


def vsftpd(address: str, port: int, directory: Path, *, anonymous: bool = True) -> Daemon:
    """FTP with a public directory, for anybody or for nobody.

    `directory` and what is above it must be open to all: vsftpd serves it as `daemon`, or as who starts it.
    """
    for name in ("empty", "public"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    (directory / "public" / "notice.txt").write_text("for anybody to read\n")
    settings: dict[str, object] = {
        "listen": "YES",
        "listen_address": address,
        "listen_port": port,
        "background": "NO",
        "anonymous_enable": "YES" if anonymous else "NO",
        "local_enable": "NO" if anonymous else "YES",
        "anon_root": directory / "public",
        "secure_chroot_dir": directory / "empty",
        "ftp_username": "daemon",  # its home exists; vsftpd goes there before it goes to anon_root
        "nopriv_user": "nobody",
        "xferlog_enable": "NO",
        "run_as_launching_user": "NO" if os.geteuid() == 0 else "YES",
    }
    if ":" in address:
        settings |= {"listen": "NO", "listen_ipv6": "YES"}
        settings["listen_address6"] = settings.pop("listen_address")
    configuration = directory / "vsftpd.conf"
    configuration.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return Daemon((_found("vsftpd"), str(configuration)), address, port, directory / "vsftpd.log")


def sshd(address: str, port: int, directory: Path, *, extra: str = GOOD_SSH, key: str = "ed25519") -> Daemon:
    """OpenSSH with a host key of its own; `extra` are lines of sshd_config (`GOOD_SSH`, `WEAK_SSH`)."""
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own, which its package makes at boot
    path = directory / "host_key"
    bits = ["-b", "2048"] if key == "rsa" else []
    subprocess.run(["ssh-keygen", "-q", "-t", key, *bits, "-N", "", "-f", path], check=True, stdin=subprocess.DEVNULL)
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    lines = (f"ListenAddress {where}", f"HostKey {path}", "PidFile none", "UsePAM no", "MaxStartups 100", extra)
    (directory / "sshd_config").write_text("\n".join(lines))
    return Daemon(
        (_found("sshd"), "-D", "-e", "-f", str(directory / "sshd_config")), address, port, directory / "sshd.log"
    )


_NGINX = """\
{user}worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    default_type text/html;
    server {{
        listen {place}{ssl};
        server_name _;
        root {root};
{extra}
    }}
}}
"""


def nginx(
    address: str,
    port: int,
    directory: Path,
    *,
    root: Path | None = None,
    certificate: Path | None = None,
    protocols: str = "TLSv1.2 TLSv1.3",
    ciphers: str = "HIGH:!aNULL:!MD5",
    extra: str = "",
) -> Daemon:
    """nginx with one site: the files of `root`, over TLS where there is a certificate.

    `certificate` is its path without `.pem` and `.key`; `extra` are lines of the server block.
    """
    place = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    lines = [extra]
    if certificate:
        lines += [f"ssl_certificate {certificate}.pem;", f"ssl_certificate_key {certificate}.key;"]
        lines += [f"ssl_protocols {protocols};", f"ssl_ciphers {ciphers};"]
    text = _NGINX.format(
        user="user root;\n" if os.geteuid() == 0 else "",
        directory=directory,
        place=place,
        ssl=" ssl" if certificate else "",
        root=root or directory,
        extra="\n".join(f"        {line}" for line in lines if line),
    )
    configuration = directory / "nginx.conf"
    configuration.write_text(text)
    argv = (_found("nginx"), "-p", str(directory), "-e", "stderr", "-c", str(configuration))
    return Daemon(argv, address, port, directory / "nginx.log")


def _found(program: str) -> str:
    path = program_path(program)
    if path is None:
        raise RuntimeError(f"{program} is {lacking(program)}")
    return path
