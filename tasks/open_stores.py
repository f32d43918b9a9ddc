"""Data stores that let anybody in: asked what they are and whether they would serve, never for what they hold."""

from __future__ import annotations

import json
from typing import Any

from footprint.records import Severity
from footprint.text import clean
from tasks import bson
from tasks.checks import Check, Said, weakness
from tasks.talk import Garbled, Place, Talk, get

SHOWN = 10
FULL_CONTROL = ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8)

AUTH = "it asks for authentication"


def redis(place: Place) -> Said:
    """`INFO server`, which needs a password where one is set."""
    with Talk(place) as talk:
        talk.say(b"INFO server\r\n")
        first = talk.line()
        if first.startswith((b"-NOAUTH", b"-DENIED", b"-NOPERM", b"-ERR operation not permitted")):
            return Said(f"{AUTH} ({clean(first[1:].decode(errors='replace'), 60)})")
        if not first.startswith(b"$") or not first[1:].isdigit():
            raise Garbled("it does not speak Redis's protocol")
        told = talk.exactly(int(first[1:])).decode(errors="replace")
    facts = dict(line.partition(":")[::2] for line in told.splitlines() if ":" in line)
    return weakness(
        "redis-open",
        "Redis serves anybody",
        Severity.CRITICAL,
        f"INFO was answered without a password: version {facts.get('redis_version', 'unknown')}",
        "https://redis.io/docs/latest/operate/oss_and_stack/management/security/",
        FULL_CONTROL,
    )


def memcached(place: Place) -> Said:
    """`version` and `stats`, which a server with SASL does not answer."""
    with Talk(place) as talk:
        talk.say(b"version\r\n")
        first = talk.line()
        if not first.startswith(b"VERSION "):
            if first.startswith((b"CLIENT_ERROR", b"ERROR")):
                return Said(f"{AUTH} ({clean(first.decode(errors='replace'), 60)})")
            raise Garbled("it does not speak memcached's protocol")
        talk.say(b"stats\r\n")
        facts: dict[str, str] = {}
        while (line := talk.line()) not in (b"END", b""):
            word, _, rest = line.decode(errors="replace").partition(" ")
            name, _, value = rest.partition(" ")
            if word == "STAT":
                facts[name] = value
    return weakness(
        "memcached-open",
        "memcached serves anybody",
        Severity.HIGH,
        f"version {clean(first[8:].decode(errors='replace'), 40)}, {facts.get('curr_items', 'unknown')} items",
        "https://github.com/memcached/memcached/wiki/SASLHowto",
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:L/A:L", 7.3),
    )


def mongodb(place: Place) -> Said:
    """`hello`, which anybody may ask, and the databases' names, which only users may."""
    with Talk(place) as talk:
        hello = _run(talk, bson.command("hello", 1))
        if "maxWireVersion" not in hello and not hello.get("ok"):
            raise Garbled("it does not speak MongoDB's protocol")
        answer = _run(talk, bson.command("listDatabases", 2, nameOnly=True))
    if not answer.get("ok"):
        return Said(f"{AUTH} ({clean(str(answer.get('codeName') or answer.get('errmsg') or ''), 60)})")
    listed = answer.get("databases")
    names = [str(each.get("name")) for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return weakness(
        "mongodb-open",
        "MongoDB serves anybody",
        Severity.CRITICAL,
        f"its databases were named without a password: {clean(', '.join(names[:SHOWN]), 400)}",
        "https://www.mongodb.com/docs/manual/administration/security-checklist/",
        FULL_CONTROL,
    )


def _run(talk: Talk, message: bytes) -> dict[str, Any]:
    talk.say(message)
    try:
        return bson.document_of(talk.exactly(bson.length_of(talk.exactly(bson.HEADER))))
    except bson.NotBson:
        raise Garbled("it does not speak MongoDB's protocol") from None


def elasticsearch(place: Place) -> Said:
    """Its first page, which names the cluster to those who may come in."""
    page = get(place, "/")
    if page.status in (401, 403):
        return Said(f"{AUTH} (HTTP {page.status})")
    told = json_of(page.body)
    version = told.get("version")
    if "cluster_name" not in told or not isinstance(version, dict):
        return Said("it is no Elasticsearch")
    product = "OpenSearch" if version.get("distribution") == "opensearch" else "Elasticsearch"
    return weakness(
        "elasticsearch-open",
        f"{product} serves anybody",
        Severity.CRITICAL,
        clean(f"cluster {told['cluster_name']}, version {version.get('number', 'unknown')}", 400),
        "https://www.elastic.co/guide/en/elasticsearch/reference/current/security-minimal-setup.html",
        FULL_CONTROL,
    )


def docker(place: Place) -> Said:
    """`/version` of Docker's API, which is there for whoever may start containers: root on that host."""
    page = get(place, "/version")
    if page.status in (401, 403):
        return Said(f"{AUTH} (HTTP {page.status})")
    told = json_of(page.body)
    if "ApiVersion" not in told or "Version" not in told:
        return Said("it is no Docker API")
    return weakness(
        "docker-open",
        "Docker's API serves anybody",
        Severity.CRITICAL,
        clean(f"version {told['Version']}, API {told['ApiVersion']}, {told.get('Os', '')}", 400),
        "https://docs.docker.com/engine/security/protect-access/",
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
    )


def json_of(text: str) -> dict[str, Any]:
    """An object as JSON; an empty one for anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


CHECKS = (
    Check("redis", redis, names=("redis",), ports=(6379,)),
    Check("memcached", memcached, names=("memcached", "memcache"), ports=(11211,)),
    Check("mongodb", mongodb, names=("mongodb", "mongod"), ports=(27017,)),
    Check("elasticsearch", elasticsearch, names=("elasticsearch", "opensearch"), ports=(9200,)),
    Check("docker", docker, names=("docker",), ports=(2375,)),
)
