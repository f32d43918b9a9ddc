"""Receivers of notifications on loopback: an HTTP server that answers as it is told, and an SMTP server."""

from __future__ import annotations

import json
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class HttpReceiver:
    """What came in, and what is answered: the successive statuses; the last one stays. `hang` waits until it is set."""

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [200])
    location: str = ""
    hang: threading.Event | None = None
    came: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def contents(self) -> list[Any]:
        """The JSON of what came, in order."""
        return [json.loads(body) for _, body in self.came]


@contextmanager
def http_receiver(trust: ssl.SSLContext | None = None, **manner: Any) -> Iterator[HttpReceiver]:
    """Serve on a free port of loopback, encrypted where there is a context, as long as the block lasts."""
    receiver = HttpReceiver(**manner)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            receiver.came.append((dict(self.headers), body))
            if receiver.hang:
                receiver.hang.wait(60)
            status = receiver.statuses.pop(0) if len(receiver.statuses) > 1 else receiver.statuses[0]
            self.send_response(status)
            if receiver.location:
                self.send_header("Location", receiver.location)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        do_GET = do_POST  # noqa: N815 -- the name is the library's

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name is the library's
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Who waited for an answer has gone away."""

    server = Server(("127.0.0.1", 0), Handler)
    if trust:
        server.socket = trust.wrap_socket(server.socket, server_side=True)
    receiver.url = f"http{'s' if trust else ''}://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        if receiver.hang:
            receiver.hang.set()
        server.shutdown()
        thread.join(10)
        server.server_close()


@dataclass
class MailServer:
    """A mail server, and the mails that came. It refuses to take any where `refuses` is set."""

    port: int = 0
    refuses: bool = False
    raw: list[bytes] = field(default_factory=list)

    @property
    def mails(self) -> list[EmailMessage]:
        """What came, read as mail."""
        read = [message_from_bytes(raw, policy=policy.default) for raw in self.raw]
        return [mail for mail in read if isinstance(mail, EmailMessage)]


class _Mails(socketserver.ThreadingTCPServer):
    daemon_threads = True
    served: MailServer


class _Conversation(socketserver.StreamRequestHandler):
    server: _Mails

    def handle(self) -> None:
        """Take what a client hands over."""
        self._say("220 mail.test")
        while line := self.rfile.readline():
            word = line.strip().split(b" ")[0].upper()
            if word == b"QUIT":
                self._say("221 bye")
                return
            if word == b"DATA":
                self._say("354 go on")
                self.server.served.raw.append(self._data())
            self._say("451 not now" if word == b"MAIL" and self.server.served.refuses else "250 yes")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def _data(self) -> bytes:
        read = bytearray()
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            read += line.removeprefix(b".") if line.startswith(b"..") else line
        return bytes(read)


@contextmanager
def mail_server(**manner: Any) -> Iterator[MailServer]:
    """As much of RFC 5321 as a client needs to hand mails over, on a free port of loopback."""
    served = MailServer(**manner)
    server = _Mails(("127.0.0.1", 0), _Conversation)
    server.served, served.port = served, server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
