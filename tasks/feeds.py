"""Fetching the vulnerability feeds into the store: NVD, EPSS, KEV, from their services or from a directory.

NVD is read page by page, each page saved together with how far it was read: an interrupted update goes on where it
was. After the first time only what changed since is asked for (NVD takes windows of at most 120 days). EPSS and KEV are
asked whether they changed since (ETag). A directory serves machines without the internet: it holds NVD's JSON (pages or
yearly files), EPSS's CSV and KEV's JSON, plain or gzipped. What was known stays where an update fails.
"""

from __future__ import annotations

import gzip
import io
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import httpx

from footprint.advisories import Advisory, Exploit, read_epss, read_kev, read_nvd
from footprint.errors import LookupFailed, PulsarError
from footprint.settings import Settings
from footprint.store import Store
from footprint.store.feeds import (
    EPSS,
    KEV,
    NVD,
    advance,
    complete,
    fail,
    feed,
    feeds_known,
    save_advisories,
    save_exploits,
)

PAGE = 2000
"""CVEs a page: the most that NVD gives."""
WINDOW = timedelta(days=119)
SAVED_AT_ONCE = 5000
BODY_CAP = 256 * 1024 * 1024
TRIES = 5
BUSY = frozenset({403, 408, 429, 500, 502, 503, 504})
"""Answers after which the same question is asked again; NVD says 403 where it is asked too often."""
DIRECTORY_PATTERNS = {
    NVD: ("nvd*.json", "nvd*.json.gz"),
    EPSS: ("epss*.csv", "epss*.csv.gz"),
    KEV: ("known_exploited_vulnerabilities.json", "known_exploited_vulnerabilities.json.gz"),
}

Tell = Callable[[str, int, int | None], None]
"""Takes a feed's name, how many entries were read, and how many there are where that is known."""


def sources_of(settings: Settings) -> dict[str, str]:
    """Where each feed is fetched from on this installation."""
    return {NVD: settings.nvd_url, EPSS: settings.epss_url, KEV: settings.kev_url}


def is_to_be_refreshed(settings: Settings, store: Store) -> bool:
    """Whether the feeds are fetched on a schedule: as the settings say, or where they were once fetched from there.

    An installation that never asked those services, or reads feeds from elsewhere, is not made to ask them.
    """
    if settings.refresh_feeds is not None:
        return settings.refresh_feeds
    sources = sources_of(settings)
    with store.read() as session:
        return any(feed.updated_at and feed.source == sources.get(feed.name) for feed in feeds_known(session))


@dataclass(slots=True)
class Fetcher:
    """Reads feeds. `pause` are the seconds between two questions to NVD, and those first waited for a busy service."""

    settings: Settings
    store: Store
    tell: Tell = lambda name, done, total: None
    pause: float | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        if self.pause is None:
            # 5 requests in 30 seconds, or 50 with a key (NVD, "Start here").
            self.pause = 0.7 if self.settings.nvd_api_key else 6.2
        self._http = httpx.Client(
            timeout=httpx.Timeout(60, connect=10),
            proxy=self.settings.proxy,
            trust_env=False,
            follow_redirects=True,
            headers={"User-Agent": "Pulsar/0.1"},
        )

    def update(self, directory: Path | None = None) -> dict[str, str]:
        """Bring every feed up to date; returns what went wrong, by feed. What was read before an error is kept."""
        problems: dict[str, str] = {}
        for name, source in sources_of(self.settings).items():
            try:
                self._update(name, str(directory) if directory else source)
            except PulsarError as error:
                problems[name] = str(error)
                with self.store.write() as session:
                    fail(session, name, str(error))
        return problems

    def _update(self, name: str, source: str) -> None:
        if not source.startswith(("http://", "https://")):
            self._from_directory(name, Path(source))
        elif name == NVD:
            self._nvd(source)
        else:
            self._whole(name, source)

    # --- NVD's API -----------------------------------------------------------------------------------------------

    def _nvd(self, source: str) -> None:
        position, watermark = self._read_so_far(NVD, source)
        if "began" not in position:
            position = {"began": self.now().isoformat(), "since": watermark, "index": 0}
        while True:
            document = self._nvd_page(source, position)
            read, total = _counts(document)
            position["index"] += read
            self._keep(list(read_nvd(document)), position, read)
            self.tell(NVD, position["index"], total)
            if read and position["index"] < total:
                time.sleep(self.pause or 0)
                continue
            if not (following := self._next_window(position)):
                break
            position = following
        with self.store.write() as session:
            complete(session, NVD, source, position["began"])

    def _read_so_far(self, name: str, source: str) -> tuple[dict[str, Any], str | None]:
        """Where an earlier update stopped, and up to when all is known; another source begins anew."""
        with self.store.write() as session:
            row = feed(session, name)
            if row.source != source:
                row.source, row.position, row.watermark = source, {}, None
            return dict(row.position), row.watermark

    def _nvd_page(self, source: str, position: dict[str, Any]) -> Any:
        asked: dict[str, str | int] = {"resultsPerPage": PAGE, "startIndex": position["index"]}
        if position["since"]:
            until = self._window_end(position)
            asked |= {"lastModStartDate": position["since"], "lastModEndDate": until.isoformat()}
        headers = {"apiKey": self.settings.nvd_api_key} if self.settings.nvd_api_key else {}
        return _json(self._get(NVD, source, params=asked, headers=headers).content, NVD)

    def _window_end(self, position: dict[str, Any]) -> datetime:
        began = datetime.fromisoformat(position["began"])
        return min(began, datetime.fromisoformat(position["since"]) + WINDOW)

    def _next_window(self, position: dict[str, Any]) -> dict[str, Any] | None:
        if not position["since"] or self._window_end(position).isoformat() == position["began"]:
            return None
        return {**position, "since": self._window_end(position).isoformat(), "index": 0}

    def _keep(self, advisories: Sequence[Advisory], position: dict[str, Any], entries: int) -> None:
        with self.store.write() as session:
            save_advisories(session, advisories)
            advance(session, NVD, position=dict(position), entries=entries)

    # --- EPSS and KEV --------------------------------------------------------------------------------------------

    def _whole(self, name: str, source: str) -> None:
        _, watermark = self._read_so_far(name, source)
        answer = self._get(name, source, headers={"If-None-Match": watermark} if watermark else {})
        if answer.status_code != httpx.codes.NOT_MODIFIED:
            self._save_exploits(name, _unpacked(answer.content, name))
        with self.store.write() as session:
            complete(session, name, source, answer.headers.get("ETag", watermark))

    def _save_exploits(self, name: str, content: bytes) -> None:
        if name == EPSS:
            found: Iterable[Exploit] = read_epss(io.StringIO(content.decode(errors="replace")))
            columns = ("epss", "percentile")
        else:
            found, columns = read_kev(_json(content, name)), ("known_since", "ransomware")
        done = 0
        for some in _in_portions(found):
            with self.store.write() as session:
                save_exploits(session, some, columns)
            done += len(some)
            self.tell(name, done, None)
        if not done:
            raise LookupFailed(f"{name}: the feed holds nothing that could be read", hint="what was known is kept")

    # --- a directory ---------------------------------------------------------------------------------------------

    def _from_directory(self, name: str, directory: Path) -> None:
        files = sorted({path for pattern in DIRECTORY_PATTERNS[name] for path in directory.glob(pattern)})
        if not files:
            wanted = " or ".join(DIRECTORY_PATTERNS[name])
            raise LookupFailed(f"{name}: the directory has no such file", hint=f"put {wanted} there")
        source = str(directory)
        position, _ = self._read_so_far(name, source)
        done: dict[str, str] = dict(position.get("files", {}))
        for path in files:
            state = path.stat()
            if done.get(path.name) != (mark := f"{state.st_size}-{state.st_mtime_ns}"):
                self._read_file(name, path)
                done[path.name] = mark
                with self.store.write() as session:
                    advance(session, name, position={"files": done})
        with self.store.write() as session:
            complete(session, name, source, None)
            advance(session, name, position={"files": done})

    def _read_file(self, name: str, path: Path) -> None:
        content = _unpacked(path.read_bytes(), name)
        if name != NVD:
            self._save_exploits(name, content)
            return
        read = 0
        for some in _in_portions(read_nvd(_json(content, name))):
            with self.store.write() as session:
                save_advisories(session, some)
            read += len(some)
            self.tell(name, read, None)

    # --- HTTP ----------------------------------------------------------------------------------------------------

    def _get(self, name: str, url: str, **words: Any) -> httpx.Response:
        """Ask, again where the service is busy. Raises `LookupFailed`."""
        wait = self.pause or 0.0
        for attempt in range(1, TRIES + 1):
            try:
                answer = self._capped(name, url, **words)
                if answer.status_code not in BUSY:
                    break
                said = f"it answered {answer.status_code}"
            except httpx.TransportError as error:
                said = type(error).__name__
            if attempt == TRIES:
                raise LookupFailed(f"{name}: the feed cannot be had: {said}", hint="what was known is kept; try later")
            time.sleep(wait)
            wait = min(wait * 2, 60)
        if answer.is_success or answer.status_code == httpx.codes.NOT_MODIFIED:
            return answer
        raise LookupFailed(f"{name}: the feed answered {answer.status_code}", hint="what was known is kept")

    def _capped(self, name: str, url: str, **words: Any) -> httpx.Response:
        with self._http.stream("GET", url, **words) as answer:
            body = bytearray()
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > BODY_CAP:
                    raise LookupFailed(f"{name}: the answer is larger than {BODY_CAP >> 20} MiB")
        headers = {key: value for key, value in answer.headers.items() if key.lower() != "content-encoding"}
        return httpx.Response(answer.status_code, headers=headers, content=bytes(body))


def _counts(document: Any) -> tuple[int, int]:
    """How many entries a page of NVD holds, and how many there are in all. Raises `LookupFailed`."""
    entries = document.get("vulnerabilities") if isinstance(document, dict) else None
    total = document.get("totalResults") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not isinstance(total, int):
        raise LookupFailed("nvd: the answer is not a page of CVEs", hint="what was known is kept")
    return len(entries), total


def _json(content: bytes, name: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        raise LookupFailed(f"{name}: the feed is not JSON, or it was cut off", hint="what was known is kept") from None


def _unpacked(content: bytes, name: str) -> bytes:
    """The content, unzipped where it is zipped, up to the cap. Raises `LookupFailed`."""
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as unzipped:
            text = unzipped.read(4 * BODY_CAP + 1)
    except (OSError, EOFError):
        raise LookupFailed(f"{name}: the file is damaged or was cut off", hint="what was known is kept") from None
    if len(text) > 4 * BODY_CAP:
        raise LookupFailed(f"{name}: the file unzips to more than {4 * BODY_CAP >> 20} MiB")
    return text


def _in_portions(found: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(found)
    while some := list(islice(rest, SAVED_AT_ONCE)):
        yield some
