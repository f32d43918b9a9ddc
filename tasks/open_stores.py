"""Data stores that let anybody in: asked what they are and whether they would serve, never for what they hold."""

from __future__ import annotations

import json
import re
from typing import Any

from footprint.records import Severity
from tasks.checks import AUTH, Check, Said, Weakness, shown
from tasks.mongodb import mongodb
from tasks.talk import Garbled, Place, Talk
from tasks.web_page import get

FULL_CONTROL = ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8)
REDIS = Weakness(
    "redis-open",
    Severity.CRITICAL,
    "https://redis.io/docs/latest/operate/oss_and_stack/management/security/",
    FULL_CONTROL,
)
MEMCACHED = Weakness(
    "memcached-open",
    Severity.HIGH,
    "https://github.com/memcached/memcached/wiki/SASLHowto",
    ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:L/A:L", 7.3),
)
DOCKER = Weakness(
    "docker-open",
    Severity.CRITICAL,
    "https://docs.docker.com/engine/security/protect-access/",
    ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
)
LOCKED = (b"-NOAUTH", b"-DENIED", b"-NOPERM", b"-ERR operation not permitted")
"""What Redis says to who gave no password, is not on its machine, or may not ask; the last one before 2.8."""


def redis(place: Place) -> Said:
    """Whether it describes itself to who gave no password."""
    with Talk(place) as talk:
        talk.say(b"INFO server\r\n")
        first = talk.line()
        if first.startswith(LOCKED):
            return Said(f"{AUTH} ({shown(first[1:])})")
        if first.startswith(b"-"):
            return Said(f"it refused ({shown(first[1:])})")
        size = re.fullmatch(rb"\$(\d{1,9})", first)
        if size is None:
            raise Garbled("it does not speak Redis's protocol")
        told = talk.exactly(int(size[1]))
    version = re.search(rb"^redis_version:([^\r\n]*)", told, re.MULTILINE)
    if version is None:
        raise Garbled("it does not speak Redis's protocol")
    return REDIS.found("Redis serves anybody", f"INFO was answered without a password: version {shown(version[1])}")


def memcached(place: Place) -> Said:
    """Whether it tells its statistics to who gave no password."""
    with Talk(place) as talk:
        # Longer than a header of the binary protocol: who speaks that alone hangs up, and does not wait for more.
        talk.say(b"version\r\nstats\r\nversion\r\n")
        first = talk.line()
        if first.startswith(b"CLIENT_ERROR"):
            return Said(f"{AUTH} ({shown(first)})")
        if not first.startswith(b"VERSION "):
            raise Garbled("it does not speak memcached's protocol")
        facts = {}
        while (line := talk.line()).startswith(b"STAT "):
            name, _, facts[name] = line[5:].partition(b" ")
    if line != b"END" or not facts:
        return Said(f"it tells nothing of itself ({shown(line)})")
    items = shown(facts.get(b"curr_items"))
    return MEMCACHED.found(
        "memcached serves anybody",
        f"stats were told without a password: version {shown(first[8:])}, {items} items",
    )


def docker(place: Place) -> Said:
    """Whether Docker's API answers: it is there for whoever may start containers, which is root on that host."""
    page = get(place, "/version")
    if page.status in (401, 403):
        return Said(f"{AUTH} (HTTP {page.status})")
    told = json_of(page.body)
    if "ApiVersion" not in told or "Version" not in told:
        return Said("it is no Docker API")
    version, api, system = (shown(told.get(name)) for name in ("Version", "ApiVersion", "Os"))
    return DOCKER.found("Docker's API serves anybody", f"/version was answered: version {version}, API {api}, {system}")


def json_of(text: str) -> dict[str, Any]:
    """An object as JSON; an empty one for anything else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


CHECKS = (
    Check("redis", "INFO", redis, names=("redis",), ports=(6379,)),
    Check("memcached", "version, stats", memcached, names=("memcached", "memcache"), ports=(11211,)),
    Check("mongodb", "listDatabases", mongodb, names=("mongodb", "mongod"), ports=(27017, 27018, 27019)),
    Check("docker", "GET /version", docker, names=("docker",), ports=(2375, 2376)),
)
