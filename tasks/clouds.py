"""The public clouds' buckets: under which names, at which addresses, and what their answers mean.

Amazon S3 and Google Cloud Storage answer with S3's XML, Azure Blob Storage with its own. A template of an address holds
`{bucket}`, or `{account}` (letters and digits alone, as Azure wants it), and perhaps `{container}`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from footprint.errors import PlatformError
from footprint.settings import Settings
from footprint.text import clean
from tasks.outside import Reply
from tasks.tld_expansion import registrable

MOST_KEYS, MOST_OF_A_KEY = 10, 200
AFFIXES = (
    *("backup", "backups", "assets", "static", "dev", "media", "prod", "data", "files", "public", "staging", "test"),
    *("images", "uploads", "logs", "web", "www", "cdn", "private", "docs", "downloads", "archive", "storage", "app"),
    *("s3", "bucket", "internal", "db", "dump", "config", "img", "content", "production", "stage", "reports", "export"),
)
CONTAINERS = ("$root", "public", "backup", "backups", "assets", "static", "files", "images", "media", "data", "uploads")
"""Azure lists no account's containers to strangers: these are tried where an account exists."""
LISTINGS = {"ListBucketResult": "Key", "EnumerationResults": "Name"}
"""Root elements of listings, and what holds a key in each."""
MALFORMED = frozenset({"InvalidBucketName", "InvalidResourceName", "InvalidUri", "OutOfRangeInput"})
ELSEWHERE = frozenset({"PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException"})

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9]|[.-](?![.-])){1,61}[a-z0-9]")
_ACCOUNT = re.compile(r"[a-z0-9]{3,24}")
_CODE = re.compile(rb"<Code>([A-Za-z]{1,64})</Code>")
_PLACE = re.compile(r"\{(.*?)\}")
_S3_HOSTED, _S3_PATH = "https://{bucket}.s3.amazonaws.com/", "https://s3.amazonaws.com/{bucket}"


class State(StrEnum):
    """What a cloud says of a bucket."""

    ABSENT = "absent"
    PRIVATE = "private"
    LISTABLE = "listable"
    ELSEWHERE = "elsewhere"
    """It exists, at an address of another region: not looked into."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Cloud:
    """Where buckets are asked for. `reference` says how they are closed."""

    key: str
    title: str
    template: str
    reference: str = "https://cwe.mitre.org/data/definitions/548.html"

    @property
    def containers(self) -> tuple[str, ...]:
        """The containers to try of each name; one without a name where the cloud has none."""
        return CONTAINERS if "{container}" in self.template else ("",)

    def url(self, name: str, container: str) -> str | None:
        """Where a bucket of that name would be; None where this cloud can have none."""
        template, account = self.template, re.sub("[^a-z0-9]", "", name)
        if "{account}" in template and not _ACCOUNT.fullmatch(account):
            return None
        if "." in name and "://{bucket}." in template:
            # The wildcard in the clouds' certificates stands for one label; S3 takes such names in the path too.
            if not template.startswith(_S3_HOSTED):
                return None
            template = template.replace(_S3_HOSTED, _S3_PATH, 1)
        for place, value in {"{bucket}": name, "{account}": account, "{container}": container}.items():
            template = template.replace(place, value)
        return template


CLOUDS = (
    Cloud(
        "s3",
        "Amazon S3",
        f"{_S3_HOSTED}?list-type=2&max-keys={MOST_KEYS}",
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html",
    ),
    Cloud(
        "gcs",
        "Google Cloud Storage",
        f"https://storage.googleapis.com/{{bucket}}?max-keys={MOST_KEYS}",
        "https://cloud.google.com/storage/docs/public-access-prevention",
    ),
    Cloud(
        "azure",
        "Azure Blob Storage",
        f"https://{{account}}.blob.core.windows.net/{{container}}?restype=container&comp=list&maxresults={MOST_KEYS}",
        "https://learn.microsoft.com/azure/storage/blobs/anonymous-read-access-prevent",
    ),
)


def clouds_of(settings: Settings) -> tuple[Cloud, ...]:
    """The clouds to ask: the installation's own, or else the three public ones. Raises `PlatformError`."""
    return tuple(_cloud_at(template) for template in settings.bucket_urls) or CLOUDS


def _cloud_at(template: str) -> Cloud:
    bare, places = urlsplit(_PLACE.sub("x", template)), set(_PLACE.findall(template))
    is_known = places <= {"bucket", "account", "container"} and bool(places & {"bucket", "account"})
    if bare.scheme not in ("http", "https") or not bare.hostname or not is_known:
        raise PlatformError(
            "cloud_buckets: an address for buckets cannot be used",
            hint="correct PULSAR_BUCKET_URLS: https://{bucket}.s3.example.com/, separated by commas",
        )
    host = bare.hostname.removeprefix("x.")
    return Cloud(host[:32], host, template)


def candidates(root: str, most: int) -> tuple[str, ...]:
    """Names of buckets that the owner of a domain might have chosen, the most telling first."""
    label, suffix = registrable(root, accept_unknown=True) or (root, "")
    domain = f"{label}.{suffix}"
    names = [label, domain, f"www.{domain}", domain.replace(".", "-")]
    names += [f"{label}-{affix}" for affix in AFFIXES[:24]]
    names += [f"{affix}.{domain}" for affix in ("assets", "static", "cdn", "media", "images", "files", "backup")]
    names += [f"{affix}-{label}" for affix in AFFIXES[:12]] + [f"{label}{affix}" for affix in AFFIXES[:12]]
    names += [f"{label}-{affix}" for affix in AFFIXES[24:]] + [f"{label}.{affix}" for affix in AFFIXES]
    names += [f"{affix}-{label}" for affix in AFFIXES[12:]] + [f"{label}{affix}" for affix in AFFIXES[12:]]
    return tuple(name for name in dict.fromkeys(names) if _NAME.fullmatch(name))[:most]


def judge(reply: Reply) -> tuple[State, tuple[str, ...]]:
    """Tell from a cloud's answer what there is, and the first keys where they are listed."""
    match = _CODE.search(reply.body)
    code = match[1].decode() if match else ""
    if reply.status == 200 and (keys := read_listing(reply.body)) is not None:
        return State.LISTABLE, keys
    if reply.status in (401, 403) or code == "PublicAccessNotPermitted":
        return State.PRIVATE, ()
    if reply.status == 404 or (reply.status == 400 and code in MALFORMED):
        return State.ABSENT, ()
    if reply.status in (301, 302, 307, 308) or code in ELSEWHERE:
        return State.ELSEWHERE, ()
    return State.UNKNOWN, ()


def read_listing(body: bytes) -> tuple[str, ...] | None:
    """The first keys of a `ListBucketResult` or `EnumerationResults`, whole or cut off; None where it is neither."""
    root, keys = "", []
    try:
        for event, element in iterparse(BytesIO(body), ("start", "end"), forbid_dtd=True):
            name = element.tag.rpartition("}")[2]
            root = root or name
            if root not in LISTINGS:
                return None
            if event == "end" and name == LISTINGS[root]:
                keys.append(clean(element.text or "")[:MOST_OF_A_KEY])
            if len(keys) == MOST_KEYS:
                break
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        return tuple(keys) or None
    return tuple(keys)
