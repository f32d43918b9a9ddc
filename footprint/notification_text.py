"""Notifications as text: a subject and a body for mail and chat, where nothing that a host said is markup."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from footprint.notification import EventType, Notification
from footprint.settings import Settings
from footprint.text import clean

SUBJECT = 150
LINE = 500
INERT = str.maketrans(
    {
        "<": "\u2039",
        ">": "\u203a",
        "&": "\uff06",
        "@": "\uff20",
        "`": "\u02cb",
        "*": "\u2217",
        "[": "\uff3b",
        "]": "\uff3d",
        "\\": "\uff3c",
    }
)
"""Look-alikes of what Slack, Teams, Discord, Markdown and HTML read as markup, mentions and links."""


@dataclass(frozen=True, slots=True)
class Links:
    """Where people find a scan and its Prefect run: the addresses of the API and of the Prefect UI."""

    api: str
    prefect_ui: str

    @classmethod
    def of(cls, settings: Settings) -> Links:
        """The addresses that the settings name, or those on this machine."""
        host = f"[{settings.api_host}]" if ":" in settings.api_host else settings.api_host
        api = settings.public_url or f"http://{host}:{settings.api_port}"
        prefect = settings.prefect_ui_url or f"http://127.0.0.1:{settings.prefect_port}"
        return cls(api.rstrip("/"), prefect.rstrip("/"))

    def scan(self, scan_id: UUID) -> str:
        """The address of a scan."""
        return f"{self.api}/api/scans/{scan_id}/"

    def run(self, task_id: UUID | None) -> str | None:
        """The address of a Prefect run."""
        return f"{self.prefect_ui}/runs/flow-run/{task_id}" if task_id else None


@dataclass(frozen=True, slots=True)
class Letter:
    """A subject, which is one line, and a body of plain text."""

    subject: str
    body: str


Sink = Callable[[str], str]


def inert(text: str) -> str:
    """A text in which chat programs and browsers find no markup, no mention, no link and no template's field."""
    return text.replace("://", "\uff1a//").replace("{{", "{ {").translate(INERT)


def as_is(text: str) -> str:
    """A text for a sink that reads no markup."""
    return text


def letter_of(notification: Notification, event_id: UUID, links: Links, sink: Sink = as_is) -> Letter:
    """One event of one scan."""
    said = [*_head(notification, sink), "", *_lines(notification, sink), *_links(notification, links)]
    return Letter(_subject(_title(notification, sink)), "\n".join([*said, f"Event: {event_id}"]))


def digest_of(notifications: Sequence[Notification], digest_id: UUID, links: Links, sink: Sink = as_is) -> Letter:
    """Many events of many scans, a line for each."""
    failed = sum(each.type is EventType.FAILED for each in notifications)
    failures = f", {failed} of them failed" if failed else ""
    body = [f"{len(notifications)} scans have ended{failures}.", ""]
    for each in notifications:
        body += [clean(_title(each, sink), LINE), f"  {links.scan(each.scan)}"]
    return Letter(_subject(f"{len(notifications)} scans{failures}"), "\n".join([*body, "", f"Event: {digest_id}"]))


def _subject(text: str) -> str:
    return clean(f"Pulsar: {text}", SUBJECT)


def _title(notification: Notification, sink: Sink) -> str:
    word = "failed: " if notification.type is EventType.FAILED else ""
    return f"{sink(notification.target)}: {word}{sink(notification.summary)}"


def _head(notification: Notification, sink: Sink) -> list[str]:
    counts = ", ".join(f"{kind.replace('_', ' ')} {count}" for kind, count in notification.found.items() if count)
    return [
        clean(f"{sink(notification.target)}, policy {notification.policy}: {notification.status}", LINE),
        f"{clean(sink(notification.summary), LINE * 2).rstrip('.')}.",
        f"Found: {counts or 'nothing'}.",
        f"Ended: {notification.at:%Y-%m-%d %H:%M:%S} UTC.",
    ]


def _lines(notification: Notification, sink: Sink) -> list[str]:
    if not notification.lines:
        return []
    more = [f"and {notification.not_listed} more"] if notification.not_listed else []
    return [*(clean(sink(line), LINE) for line in notification.lines), *more, ""]


def _links(notification: Notification, links: Links) -> list[str]:
    run = links.run(notification.task_id)
    return [f"Scan: {links.scan(notification.scan)}", *([f"Prefect run: {run}"] if run else [])]
