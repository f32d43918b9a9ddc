"""The REST API as the `pulsar` command sees it: where it is, what it answers, and what its refusals mean."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from deployments.answers import (
    Answer,
    Diff,
    Explanation,
    FindingFound,
    HealthFound,
    HostFound,
    LogLine,
    Module,
    Name,
    Policy,
    Purge,
    Scan,
    Scans,
    Service,
    TechnologyFound,
    Trial,
    Webhook,
)
from deployments.preview_answers import Preview
from deployments.refusals import refusal
from deployments.schedule_answers import Schedule, ScheduleRun
from footprint.errors import InstallationError, NotFound, RequestError, TransientError
from footprint.notify_rules import NAME_PATTERN

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 60.0
"""How long an answer is waited for while a scan runs, before the platform counts as gone."""
PAGE_SIZE = 100
MOST_PAGES = 10_000


Shape = TypeVar("Shape", bound=Answer)


class Api:
    """A connection to one platform's API. Raises errors of `footprint.errors`, never those of httpx."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url.rstrip("/").removesuffix("/api")
        try:
            host = httpx.URL(self.url).host
            self._http = httpx.Client(
                base_url=self.url,
                headers={"Authorization": f"Token {token}"} if token else {},
                timeout=httpx.Timeout(30, connect=5),
                # A proxy of the environment must never see what is said on loopback.
                trust_env=host not in LOOPBACK_HOSTS,
            )
        except (httpx.InvalidURL, ValueError):
            raise _no_address() from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def is_there(self) -> bool:
        """Whether anything answers as an API, in good health or not."""
        try:
            return isinstance(self._http.get("/api/health/", timeout=5).json(), dict)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL):
            raise _no_address() from None
        except (httpx.HTTPError, ValueError):
            return False

    def require(self) -> Self:
        """This connection, or `TransientError` where nothing answers."""
        if not self.is_there():
            raise self._silence("no answer to /api/health/")
        return self

    def start_scan(self, target: str, policy: str | dict[str, Any], comment: str, key: str) -> Scan:
        """Ask for a scan, by a policy's name or with a policy for it alone.

        The same `key` never starts a second one, so this may be repeated.
        """
        body = {"target": target, "policy": policy, "comment": comment}
        return _shaped(Scan, self._ask("POST", "/api/scans/", json=body, headers={"Idempotency-Key": key}))

    def scan(self, scan_id: str) -> Scan:
        """One scan as it is now."""
        return _shaped(Scan, self._ask("GET", f"/api/scans/{_path_word(scan_id)}/"))

    def scans(self, status: str | None, page: int) -> Scans:
        """A page of scans, of one status or of all."""
        wanted = {"page": page, "page_size": 20} | ({"status": status} if status else {})
        return _shaped(Scans, self._ask("GET", "/api/scans/", params=wanted))

    def cancel(self, scan_id: str) -> Scan:
        """Ask for a scan's end. It may take seconds: watch it."""
        return _shaped(Scan, self._ask("POST", f"/api/scans/{_path_word(scan_id)}/cancel/"))

    def resume(self, scan_id: str, module: str | None) -> Scan:
        """A new scan of what an ended one did not finish, or of what one module of it did not do well."""
        wanted = {"json": {"module": module}} if module else {}
        return _shaped(Scan, self._ask("POST", f"/api/scans/{_path_word(scan_id)}/resume/", **wanted))

    def rerun(self, scan_id: str) -> Scan:
        """A new scan like an ended one."""
        return _shaped(Scan, self._ask("POST", f"/api/scans/{_path_word(scan_id)}/rerun/"))

    def purge(self) -> Purge:
        """End every scan that has not begun."""
        return _shaped(Purge, self._ask("POST", "/api/scans/purge/"))

    def delete(self, scan_id: str) -> None:
        """Forget an ended scan."""
        self._ask("DELETE", f"/api/scans/{_path_word(scan_id)}/")

    def services(self, scan_id: str) -> list[Service]:
        """Every open port of a scan."""
        return self._all(Service, f"/api/scans/{_path_word(scan_id)}/services/")

    def names(self, scan_id: str) -> list[Name]:
        """Every DNS name of a scan."""
        return self._all(Name, f"/api/scans/{_path_word(scan_id)}/domains/")

    def hosts(self, scan_id: str) -> list[HostFound]:
        """Every address of a scan."""
        return self._all(HostFound, f"/api/scans/{_path_word(scan_id)}/hosts/")

    def technologies(self, scan_id: str) -> list[TechnologyFound]:
        """Every product that the services of a scan showed."""
        return self._all(TechnologyFound, f"/api/scans/{_path_word(scan_id)}/technologies/")

    def findings(self, scan_id: str) -> list[FindingFound]:
        """Every weakness of a scan."""
        return self._all(FindingFound, f"/api/scans/{_path_word(scan_id)}/findings/")

    def diff(self, scan_id: str, against: str | None) -> Diff:
        """All that differs in a scan, against an earlier one or the last comparable one."""
        words = {"page_size": PAGE_SIZE} | ({"against": against} if against else {})
        path = f"/api/scans/{_path_word(scan_id)}/diff/"
        pages = [self._ask("GET", path, params={**words, "page": 1})]
        while isinstance(pages[-1], dict) and pages[-1].get("next") and len(pages) < MOST_PAGES:
            pages.append(self._ask("GET", path, params={**words, "page": len(pages) + 1}))
        whole = _shaped(Diff, pages[0])
        rest = [each for page in pages[1:] for each in _shaped(Diff, page).results]
        return whole.model_copy(update={"results": (*whole.results, *rest)})

    def explanation(self, scan_id: str) -> Explanation:
        """Why a scan is where it is."""
        return _shaped(Explanation, self._ask("GET", f"/api/scans/{_path_word(scan_id)}/explain/"))

    def log(self, scan_id: str, **wanted: str) -> list[LogLine]:
        """The log of a scan: all of it, or what is `wanted` of it (`module`, `level`, `after`)."""
        return self._all(LogLine, f"/api/scans/{_path_word(scan_id)}/logs/", wanted)

    def health(self) -> HealthFound:
        """How each part of the platform is; also of one that is down."""
        return _shaped(HealthFound, _content(self._request("GET", "/api/health/")))

    def modules(self) -> list[Module]:
        """Every module, and the state of its tool on the platform's machine."""
        return self._all(Module, "/api/modules/")

    def policies(self) -> list[Policy]:
        """Every policy there is."""
        return self._all(Policy, "/api/policies/")

    def policy(self, name: str) -> Policy:
        """One policy."""
        return _shaped(Policy, self._ask("GET", _policy_path(name)))

    def add_policy(self, policy: dict[str, Any]) -> Policy:
        """Keep a new policy."""
        return _shaped(Policy, self._ask("POST", "/api/policies/", json=policy))

    def replace_policy(self, name: str, policy: dict[str, Any]) -> Policy:
        """Have a policy that there is say this from now on."""
        return _shaped(Policy, self._ask("PUT", _policy_path(name), json=policy))

    def delete_policy(self, name: str) -> None:
        """Forget a policy."""
        self._ask("DELETE", _policy_path(name))

    def add_schedule(self, said: dict[str, Any]) -> Schedule:
        """Make a schedule."""
        return _shaped(Schedule, self._ask("POST", "/api/schedules/", json=said))

    def schedules(self) -> list[Schedule]:
        """Every schedule."""
        return self._all(Schedule, "/api/schedules/")

    def schedule(self, schedule_id: str) -> Schedule:
        """One schedule."""
        return _shaped(Schedule, self._ask("GET", _schedule_path(schedule_id)))

    def schedule_runs(self, schedule_id: str) -> list[ScheduleRun]:
        """The last ten times that it came due."""
        page = self._ask("GET", f"{_schedule_path(schedule_id)}runs/", params={"page": 1, "page_size": 10})
        return _all_shaped(ScheduleRun, page.get("results") if isinstance(page, dict) else None)

    def change_schedule(self, schedule_id: str, verb: str) -> Schedule:
        """Pause or resume a schedule."""
        return _shaped(Schedule, self._ask("POST", f"{_schedule_path(schedule_id)}{verb}/"))

    def run_schedule(self, schedule_id: str) -> Scan:
        """Have a schedule's scan made now."""
        return _shaped(Scan, self._ask("POST", f"{_schedule_path(schedule_id)}run/"))

    def delete_schedule(self, schedule_id: str) -> None:
        """Remove a schedule."""
        self._ask("DELETE", _schedule_path(schedule_id))

    def webhooks(self) -> list[Webhook]:
        """Every signed webhook."""
        return self._all(Webhook, "/api/webhooks/")

    def add_webhook(self, name: str, url: str, secret: str | None) -> Webhook:
        """Keep a webhook; the answer has its secret."""
        said = {"name": name, "url": url} | ({"secret": secret} if secret else {})
        return _shaped(Webhook, self._ask("POST", "/api/webhooks/", json=said))

    def test_webhook(self, name: str) -> Trial:
        """Send a webhook a test."""
        return _shaped(Trial, self._ask("POST", f"{_webhook_path(name)}test/"))

    def delete_webhook(self, name: str) -> None:
        """Forget a webhook."""
        self._ask("DELETE", _webhook_path(name))

    def preview(self, target: str, policy: str | dict[str, Any]) -> Preview:
        """What a scan would do, by a policy's name or with a policy for it alone."""
        body = {"target": target, "policy": policy}
        return _shaped(Preview, self._ask("POST", "/api/policies/preview/", json=body))

    def watch(self, scan_id: str, on_trouble: Callable[[str], None]) -> Iterator[Scan]:
        """Yield the scan every half second, until it is over. Outages of up to a minute are told and sat out."""
        while True:
            scan = patiently(lambda: self.scan(scan_id), on_trouble)
            yield scan
            if scan.is_over:
                return
            time.sleep(POLL_SECONDS)

    def _all(self, shape: type[Shape], path: str, wanted: dict[str, str] | None = None) -> list[Shape]:
        found: list[Shape] = []
        for page in range(1, MOST_PAGES + 1):
            content = self._ask("GET", path, params={"page": page, "page_size": PAGE_SIZE, **(wanted or {})})
            if not isinstance(content, dict):
                raise _not_understood()
            found += _all_shaped(shape, content.get("results"))
            if not content.get("next"):
                break
        return found

    def _ask(self, method: str, path: str, **words: Any) -> Any:
        response = self._request(method, path, **words)
        if response.status_code == httpx.codes.NO_CONTENT:
            return None
        if response.is_success:
            return _content(response)
        raise refusal(response)

    def _request(self, method: str, path: str, **words: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **words)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL):
            raise _no_address() from None
        except httpx.TransportError as error:
            raise self._silence(type(error).__name__) from None

    def _silence(self, how: str) -> TransientError:
        return TransientError(
            f"the platform at {self.url} does not answer ({how})", hint="is it running? `pulsar up` starts one"
        )


Result = TypeVar("Result")


def patiently(ask: Callable[[], Result], on_trouble: Callable[[str], None]) -> Result:
    """Repeat a question while the platform is away, for a minute at most. `on_trouble` hears of every failure."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except TransientError as error:
            if time.monotonic() > give_up:
                raise
            on_trouble(f"{error.detail.rstrip('.')}; trying again")
            time.sleep(2 * POLL_SECONDS)


def _path_word(scan_id: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z-]{1,64}", scan_id):
        raise NotFound("there is no scan of that id", hint="`pulsar scans` lists them")
    return scan_id


def _schedule_path(schedule_id: str) -> str:
    if not re.fullmatch(r"[0-9A-Za-z-]{1,64}", schedule_id):
        raise NotFound("there is no schedule of that id", hint="`pulsar schedule list` lists them")
    return f"/api/schedules/{schedule_id}/"


def _policy_path(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,63}", name):
        raise NotFound("there is no policy of that name", hint="`pulsar policies` lists them")
    return f"/api/policies/{name}/"


def _webhook_path(name: str) -> str:
    if not re.fullmatch(NAME_PATTERN, name):
        raise NotFound("there is no webhook of that name", hint="`pulsar webhook list` lists them")
    return f"/api/webhooks/{name}/"


def _content(response: httpx.Response) -> Any:
    if response.status_code == httpx.codes.NO_CONTENT:
        return None
    try:
        return response.json()
    except ValueError:
        raise _not_understood() from None


def _shaped(shape: type[Shape], content: Any) -> Shape:
    try:
        return shape.model_validate(content)
    except ValidationError:
        raise _not_understood() from None


def _all_shaped(shape: type[Shape], rows: Any) -> list[Shape]:
    try:
        return TypeAdapter(list[shape]).validate_python(rows)  # type: ignore[valid-type]
    except ValidationError:
        raise _not_understood() from None


def _no_address() -> RequestError:
    return RequestError("the platform's address is not one", hint="PULSAR_API_URL looks like http://127.0.0.1:8000")


def _not_understood() -> InstallationError:
    return InstallationError(
        "the API's answer was not understood", hint="the platform may be of another version than this command"
    )
