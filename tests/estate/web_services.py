"""Public services on loopback, speaking their own protocols: crt.sh, RIPEstat's data API, buckets of three clouds.

    with WebServices(certificates=[Logged("www.example.test")]) as services:
        Settings(**services.settings)

What they know is given to them; what they were asked is in `asked`. `fail` has the next questions to one of them go
wrong as such services do: busy, ill, endless, silent, gone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network
from threading import Event, Lock, Thread
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

GARBAGE = b'<!DOCTYPE html><html><body>Sorry, something went wrong.</body></html>[{"name_value": "'
PIECE = b"<Contents><Key>filler</Key></Contents>" * 1700
PATIENCE = 30.0
"""Seconds after which a silent or slow answer ends by itself."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A certificate in the logs: its names as lines of `name_value`."""

    names: str
    common_name: str = ""
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """An announced prefix: by which networks, and in which country the registry has it."""

    prefix: str
    asns: Mapping[int, str]
    country: str | None = None


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket and its keys. `kind` is the cloud: s3, gcs or azure."""

    keys: Sequence[str] = ()
    public: bool = False
    kind: str = "s3"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is answered instead. `body` None is the right answer; `manner`: whole, endless, slow, silent, hangup."""

    status: int = 200
    body: bytes | None = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    manner: str = "whole"


BUSY = Fault(429, b"slow down")
BUSY_FOR_A_SECOND = Fault(429, b"slow down", {"Retry-After": "1"})
ILL = Fault(500, b"internal error")
AWAY = Fault(503, b"<html>unavailable</html>")
UNREADABLE = Fault(200, GARBAGE)
ENDLESS = Fault(200, manner="endless")
SLOW = Fault(200, manner="slow")
SILENT = Fault(200, manner="silent")
HANGUP = Fault(200, manner="hangup")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as it arrived: which service, its path below that, its parameters and headers (lower case)."""

    service: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]


class WebServices:
    """Serves on a free port of 127.0.0.1 while its `with` block lasts; `settings` are Pulsar's, by their names."""

    def __init__(
        self,
        certificates: Sequence[Logged] = (),
        routes: Sequence[Route] = (),
        buckets: Mapping[str, Bucket] | None = None,
    ) -> None:
        self.certificates = certificates
        self.routes = routes
        self.buckets = dict(buckets or {})
        self.asked: list[Asked] = []
        self.over = Event()
        self._faults: dict[str, list[Fault]] = {}
        self._always: dict[str, Fault] = {}
        self._lock = Lock()

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.services = self  # type: ignore[attr-defined]
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def settings(self) -> dict[str, Any]:
        """Where Pulsar finds each service."""
        return {
            "ct_url": f"{self.url}/ct/",
            "ripestat_url": f"{self.url}/data/",
            "bucket_urls": (f"{self.url}/buckets/{{bucket}}",),
        }

    def fail(self, service: str, *faults: Fault, always: Fault | None = None) -> None:
        """Have the next questions to `ct`, `data` or `buckets` go wrong, one after another, or all that follow."""
        with self._lock:
            self._faults.setdefault(service, []).extend(faults)
            if always:
                self._always[service] = always

    def questions(self, service: str) -> list[Asked]:
        """What one service was asked, in order."""
        return [asked for asked in self.asked if asked.service == service]

    def take(self, asked: Asked) -> Fault:
        """Write a question down; returns how it is answered."""
        with self._lock:
            self.asked.append(asked)
            if waiting := self._faults.get(asked.service):
                return waiting.pop(0)
            return self._always.get(asked.service) or self._answer(asked)

    def _answer(self, asked: Asked) -> Fault:
        match asked.service, asked.path.strip("/").split("/"):
            case "ct", _:
                return as_json(self._certificates(asked.query))
            case "data", [question, "data.json"]:
                return self._ripestat(question, asked.query.get("resource", ""))
            case "buckets", [name, *_]:
                return _bucket(name, self.buckets.get(name))
        return Fault(404, b"not found")

    def _certificates(self, query: dict[str, str]) -> list[dict[str, Any]]:
        """Entries as crt.sh lists them: the newest first, those that have expired left out where told to."""
        shown = [one for one in self.certificates if not (one.expired and query.get("exclude") == "expired")]
        return [
            {
                "issuer_ca_id": 183267,
                "issuer_name": "C=US, O=Let's Encrypt, CN=R3",
                "common_name": one.common_name or one.names.splitlines()[0],
                "name_value": one.names,
                "id": number,
                "entry_timestamp": "2024-05-15T10:00:00.123",
                "not_before": "2024-05-15T10:00:00",
                "not_after": "2024-08-13T10:00:00",
                "serial_number": f"{number:036x}",
                "result_count": 2,
            }
            for number, one in enumerate(shown, 1)
        ]

    def _ripestat(self, question: str, resource: str) -> Fault:
        try:
            address = ip_address(resource)
        except ValueError:
            said = {"status": "error", "status_code": 400, "messages": [["error", "bad resource"]], "data": {}}
            return as_json(said, 400)
        covering = [route for route in self.routes if address in ip_network(route.prefix)]
        route = max(covering, key=lambda one: ip_network(one.prefix).prefixlen, default=None)
        data: dict[str, Any] = {}
        if question == "prefix-overview":
            data = _overview(route, resource)
        elif question == "rir-stats-country":
            located = [{"resource": route.prefix, "location": route.country}] if route and route.country else []
            data = {"located_resources": located, "parameters": {"resource": resource}}
        return as_json({"status": "ok", "status_code": 200, "messages": [], "data": data})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        services: WebServices = self.server.services  # type: ignore[attr-defined]
        split = urlsplit(self.path)
        _, service, *rest = split.path.split("/")
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._send(services, services.take(Asked(service, "/".join(rest), query, headers)))

    def _send(self, services: WebServices, fault: Fault) -> None:
        if fault.manner in ("silent", "hangup"):
            services.over.wait(PATIENCE if fault.manner == "silent" else 0)
            self.close_connection = True
            return
        self.send_response(fault.status)
        for name, value in fault.headers.items():
            self.send_header(name, value)
        if fault.manner == "whole":
            self.send_header("Content-Length", str(len(fault.body or b"")))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        try:
            for piece in _pieces(services, fault):
                self.wfile.write(piece)
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


def _pieces(services: WebServices, fault: Fault) -> Iterator[bytes]:
    """The body; one without an end is bounded by what a client may read, a slow one by the server's own life."""
    if fault.manner == "whole":
        yield fault.body or b""
    elif fault.manner == "endless":
        yield b'<?xml version="1.0"?><ListBucketResult><Name>endless</Name>'
        for _ in range(2000):
            yield PIECE
    else:
        for _ in range(int(PATIENCE / 0.05)):
            yield b" "
            if services.over.wait(0.05):
                return


def as_json(document: object, status: int = 200) -> Fault:
    """An answer that is a JSON document."""
    return Fault(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


def _overview(route: Route | None, resource: str) -> dict[str, Any]:
    """An address that nobody announces comes back as it was asked for."""
    announced = [{"asn": number, "holder": holder} for number, holder in route.asns.items()] if route else []
    return {
        "is_less_specific": route is not None,
        "announced": bool(announced),
        "asns": announced,
        "related_prefixes": [],
        "resource": route.prefix if route and announced else resource,
        "type": "prefix",
        "block": {"resource": "0.0.0.0/0", "desc": "test", "name": "IANA IPv4 Address Space Registry"},
        "actual_num_related": 0,
        "num_filtered_out": 0,
    }


def _bucket(name: str, bucket: Bucket | None) -> Fault:
    if bucket is None:
        return _refusal(404, "NoSuchBucket", name)
    if not bucket.public:
        return _refusal(409, "PublicAccessNotPermitted", name) if bucket.kind == "azure" else _denial(name)
    if bucket.kind == "azure":
        blobs = "".join(f"<Blob><Name>{escape(key)}</Name><Url>x</Url></Blob>" for key in bucket.keys)
        body = f'<EnumerationResults ContainerName="x"><Blobs>{blobs}</Blobs><NextMarker/></EnumerationResults>'
    else:
        space = "http://s3.amazonaws.com/doc/2006-03-01/" if bucket.kind == "s3" else "http://doc.s3.amazonaws.com/2006"
        keys = "".join(f"<Contents><Key>{escape(key)}</Key><Size>1</Size></Contents>" for key in bucket.keys)
        body = f'<ListBucketResult xmlns="{space}"><Name>{name}</Name>{keys}</ListBucketResult>'
    return Fault(200, f'<?xml version="1.0" encoding="UTF-8"?>\n{body}'.encode(), {"Content-Type": "application/xml"})


def _denial(name: str) -> Fault:
    return _refusal(403, "AccessDenied", name)


def _refusal(status: int, code: str, name: str) -> Fault:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><BucketName>{name}</BucketName></Error>'
    return Fault(status, body.encode(), {"Content-Type": "application/xml"})
