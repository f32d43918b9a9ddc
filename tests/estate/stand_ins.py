"""Public services for the scanner's side, on its loopback: certificate logs, RIPEstat and a cloud's buckets.

    with StandIns(estate.scanner) as stand_ins:
        Pulsar(estate, home, **stand_ins.settings)

They speak the services' own protocols and know the estate only. `python -m tests.estate.stand_ins` is what runs
inside: it prints the port, and ends when its standard input is closed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network
from threading import Thread
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.estate import addresses as at
from tests.estate.estate import REPOSITORY
from tests.estate.namespaces import Side
from tests.estate.zone import IN_CT_LOGS, NEIGHBOURS, ROOT

LOGGED = (*(f"{name}.{ROOT}" for name in (*IN_CT_LOGS, "old-shop-3kd", "www")), f"*.apps.{ROOT}", ROOT)
FOREIGN = f"shop.{NEIGHBOURS}"
"""A name on one of our certificates that is not ours."""
PUBLIC_BUCKET, PRIVATE_BUCKET = "pulsar-backup", "pulsar-dev"
ASN, HOLDER = 64500, "PULSAR-TEST Estate"
LISTING = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>{name}</Name><MaxKeys>1000</MaxKeys>
<IsTruncated>false</IsTruncated><Contents><Key>dump.sql.gz</Key><Size>1024</Size></Contents></ListBucketResult>"""
REFUSAL = """<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>{code}</Code><BucketName>{name}</BucketName></Error>"""


class StandIns:
    """The services, running inside while the context is open; `settings` are Pulsar's, by their lower-case names."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self.settings: dict[str, str] = {}

    def __enter__(self) -> Self:
        argv = [sys.executable, "-m", "tests.estate.stand_ins"]
        self._process = self._side.popen(argv, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        port = int(self._process.stdout.readline()) if self._process.stdout else 0
        url = f"http://127.0.0.1:{port}"
        self.settings = {
            "ct_url": f"{url}/ct/",
            "ripestat_url": f"{url}/data/",
            "bucket_urls": f"{url}/buckets/{{bucket}}",
        }
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.terminate()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        at_path = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(at_path.query).items()}
        match at_path.path.strip("/").split("/"):
            case ["ct"]:
                self._send(200, json.dumps(_certificates()))
            case ["data", question, *_]:
                self._send(200, json.dumps(_ripestat(question, query.get("resource", ""))))
            case ["buckets", name, *_]:
                self._send(*_bucket(name))
            case _:
                self._send(404, "{}")

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def _send(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/xml" if body.startswith("<") else "application/json")
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


def _certificates() -> list[dict[str, Any]]:
    """Entries as crt.sh lists them: several names of one certificate are lines of `name_value`."""
    return [
        {
            "issuer_ca_id": 1,
            "issuer_name": "CN=Test Authority",
            "common_name": name,
            "name_value": f"{name}\n{FOREIGN}" if name == ROOT else name,
            "id": number,
            "entry_timestamp": "2024-05-15T10:00:00",
            "not_before": "2024-05-15T10:00:00",
            "not_after": "2024-08-13T10:00:00",
            "serial_number": f"{number:032x}",
        }
        for number, name in enumerate(LOGGED, 1)
    ]


def _ripestat(question: str, resource: str) -> dict[str, Any]:
    prefix = next((net for net in (at.NET, at.NET6) if _is_within(resource, net)), None)
    data: dict[str, Any] = {}
    match question:
        case "network-info":
            data = {"asns": [str(ASN)] if prefix else [], "prefix": prefix}
        case "prefix-overview":
            data = {"asns": [{"asn": ASN, "holder": HOLDER}] if prefix else [], "resource": prefix or resource}
        case "as-overview":
            data = {"type": "as", "resource": str(ASN), "holder": HOLDER, "announced": True}
        case "announced-prefixes":
            data = {"resource": str(ASN), "prefixes": [{"prefix": net} for net in (at.NET, at.NET6)]}
    return {"status": "ok", "status_code": 200, "messages": [], "data": data}


def _is_within(resource: str, net: str) -> bool:
    try:
        return ip_address(resource.partition("/")[0]) in ip_network(net)
    except ValueError:
        return False


def _bucket(name: str) -> tuple[int, str]:
    if name == PUBLIC_BUCKET:
        return 200, LISTING.format(name=name)
    if name == PRIVATE_BUCKET:
        return 403, REFUSAL.format(name=name, code="AccessDenied")
    return 404, REFUSAL.format(name=name, code="NoSuchBucket")


def main() -> None:
    """Serve until standard input ends."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_address[1], flush=True)  # noqa: T201 - it is what its parent waits for
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
