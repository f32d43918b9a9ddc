"""One page of a web server: asked for once, whatever it says about going elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import h11

from tasks.outside import USER_AGENT
from tasks.talk import Garbled, Place, Talk

MOST_BODY = 64 * 1024
MOST_HEAD = 32 * 1024


@dataclass(frozen=True, slots=True)
class Page:
    """What a web server answered; of the body, its beginning."""

    status: int
    body: str


def get(place: Place, path: str) -> Page:
    """Ask for a page over HTTP/1.1. Raises as `Talk` does, and `Garbled` where the answer is no HTTP."""
    speaker = h11.Connection(h11.CLIENT, max_incomplete_event_size=MOST_HEAD)
    headers = {"Host": _host(place), "User-Agent": USER_AGENT, "Accept": "*/*", "Connection": "close"}
    request = h11.Request(method="GET", target=path, headers=list(headers.items()))
    with Talk(place) as talk:
        talk.say((speaker.send(request) or b"") + (speaker.send(h11.EndOfMessage()) or b""))
        return _read(speaker, talk)


def _host(place: Place) -> str:
    address = f"[{place.address}]" if ":" in place.address else place.address
    return address if place.port == (443 if place.secured else 80) else f"{address}:{place.port}"


def _read(speaker: h11.Connection, talk: Talk) -> Page:
    status, body = 0, bytearray()
    while len(body) < MOST_BODY:
        try:
            event = speaker.next_event()
        except h11.RemoteProtocolError:
            if not status:
                raise Garbled("it does not speak HTTP") from None
            break  # it closed in the middle: the beginning will do
        if event is h11.NEED_DATA:
            speaker.receive_data(talk.some())
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        elif not isinstance(event, h11.InformationalResponse):
            break
    return Page(status, bytes(body[:MOST_BODY]).decode(errors="replace"))
