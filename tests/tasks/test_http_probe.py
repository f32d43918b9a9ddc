"""The http_probe module against a real nginx with sites of many kinds, and listeners that mean no good."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import mmh3
import pytest

from footprint.records import Coverage, DomainName, Endpoint, Finding, Outcome, WebPage, subject_of
from tasks.http_probe import PACES, TOOL, HttpProbeOptions, configure, probe
from tasks.outside import USER_AGENT
from tasks.tool import Pace, Risk
from tests.conftest import free_port
from tests.estate import sites
from tests.estate.daemons import Daemon, lacking, program_path, running
from tests.estate.sites import CAREFUL, Site
from tests.estate.tls_hosts import Draft, make_certificates
from tests.tasks.asking import asking
from tests.tasks.hostile import Listener, Manner, babble, close, drip, flood, hang
from tests.tasks.web_listener import Scripted, moved, page

HERE = "127.0.0.1"
ROOT = "pulsar.test"
WWW, BLOG, DEV, FILES = (f"{name}.{ROOT}" for name in ("www", "blog", "dev", "files"))
REF = b"ref: refs/heads/main\n"
PLAIN = "Content-Type: application/octet-stream"
ICON = b"\x00\x00\x01\x00 an icon"


class Run:
    """One unit: what it yielded, by kind."""

    def __init__(self, *batch: Endpoint, options: dict[str, Any] | None = None, **under: Any) -> None:
        quick = {"rate": 1000, "timeout": 10, **(options or {})}
        circumstances = asking(**{"target": ROOT, **under})
        found = list(probe(batch, HttpProbeOptions.model_validate(quick), circumstances))
        self.pages = {each.subject: each for each in found if isinstance(each, WebPage)}
        self.names = [each.name for each in found if isinstance(each, DomainName)]
        self.findings = [each for each in found if isinstance(each, Finding)]
        self.coverage = {each.subject: each for each in found if isinstance(each, Coverage)}
        assert {type(each) for each in found} <= {*TOOL.produces, Coverage}
        assert set(self.coverage) == {subject_of(each) for each in batch}

    @property
    def rules(self) -> set[tuple[str, str]]:
        """Check and subject of each finding."""
        rules = [(each.rule.removeprefix("http_probe/"), each.subject) for each in self.findings]
        assert len(rules) == len(set(rules))
        return set(rules)

    @property
    def page(self) -> WebPage:
        (only,) = self.pages.values()
        return only

    @property
    def outcome(self) -> Coverage:
        (only,) = self.coverage.values()
        return only


def checked(answers: dict[str, bytes | Manner], name: str | None = WWW, **options: Any) -> tuple[Run, Scripted]:
    """A unit about one scripted server, asked by one name, and what that server was asked."""
    site = Scripted(answers)
    with Listener(site) as listener:
        return Run(Endpoint(HERE, listener.port, name, "http"), options=options), site


# A real nginx


@dataclass(frozen=True, slots=True)
class Nginx:
    """Ports of the sites: plain text with several, one with each of two alone, and TLS."""

    plain: int
    files: int
    dev: int
    secured: int


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    if reason := lacking("nginx"):
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("nginx")
    directory.chmod(0o755)
    made = directory / "certificates"
    made.mkdir()
    make_certificates(made, {"good": Draft((WWW, BLOG))})
    at = Nginx(*(free_port() for _ in range(4)))
    places = {port: (f"{HERE}:{port}", f"[::1]:{port}") for port in (at.plain, at.files, at.dev, at.secured)}
    to_www = f"\n        return 301 https://{WWW}$request_uri;"
    argv = sites.write(
        directory / "sites",
        made,
        (
            Site("moved", places[at.plain], (WWW, ROOT), extra=to_www),
            Site("blog", places[at.plain], (BLOG,)),
            Site("files", places[at.files], extra="\n        autoindex on;", index=False),
            Site("dev", places[at.dev]),
            Site("secured", places[at.secured], (BLOG,), "good"),
            Site("www", places[at.secured], (WWW,), "good", extra=CAREFUL),
        ),
    )
    with running(Daemon((program_path("nginx") or "nginx", *argv), HERE, at.plain, directory / "nginx.log")):
        yield at


def test_a_page_is_told_with_status_title_and_server(nginx: Nginx) -> None:
    run = Run(Endpoint(HERE, nginx.plain, BLOG, "http"))
    assert run.page.subject == f"{BLOG}@{HERE}:{nginx.plain}/tcp"
    assert run.page.url == f"http://{BLOG}:{nginx.plain}/"
    assert (run.page.status, run.page.title, run.page.redirects, run.page.favicon) == (200, "blog", (), None)
    assert (run.page.server or "").startswith("nginx/1.")
    body = b"<!doctype html><html><head><title>blog</title></head><body>blog</body></html>\n"
    assert run.page.body == hashlib.sha256(body).hexdigest()
    assert (run.outcome.outcome, run.outcome.note) == (Outcome.ANSWERED, "HTTP 200; 3 requests")


def test_names_of_one_address_show_their_own_sites(nginx: Nginx) -> None:
    run = Run(*(Endpoint(HERE, nginx.secured, name, "http", "ssl") for name in (None, BLOG, WWW)))
    titles = {subject.partition("@")[0]: shown.title for subject, shown in run.pages.items()}
    assert titles == {f"{HERE}:{nginx.secured}/tcp": "secured", BLOG: "secured", WWW: "www"}
    at = f"{HERE}:{nginx.secured}/tcp"
    assert run.rules == {("security-headers", at), ("server-version", at)}


def test_over_ipv6_it_is_the_same(nginx: Nginx) -> None:
    run = Run(*(Endpoint("::1", nginx.secured, name, "http", "ssl") for name in (None, WWW)))
    assert run.pages[f"{WWW}@[::1]:{nginx.secured}/tcp"].title == "www"
    assert run.pages[f"[::1]:{nginx.secured}/tcp"].title == "secured"


def test_a_redirect_tells_a_name_and_is_not_followed_to_it(nginx: Nginx) -> None:
    run = Run(Endpoint(HERE, nginx.plain, ROOT, "http"))
    assert (run.page.status, run.page.redirects) == (301, (f"https://{WWW}/",))
    assert run.names == [WWW]
    assert "security-headers" not in {rule for rule, _ in run.rules}


def test_files_that_anybody_may_list_are_found(nginx: Nginx) -> None:
    run = Run(Endpoint(HERE, nginx.files, FILES, "http"))
    assert run.page.title == "Index of /"
    assert ("directory-listing", f"{HERE}:{nginx.files}/tcp") in run.rules
    assert Run(Endpoint(HERE, nginx.files, FILES, "http"), options={"listing": False}).rules == run.rules - {
        ("directory-listing", f"{HERE}:{nginx.files}/tcp")
    }


def test_a_repository_that_anybody_may_read_is_found(nginx: Nginx) -> None:
    run = Run(Endpoint(HERE, nginx.dev, None, "http"))
    (git,) = [finding for finding in run.findings if finding.rule == "http_probe/git"]
    assert (git.subject, git.score) == (f"{HERE}:{nginx.dev}/tcp", 7.5)
    assert git.evidence == "GET /.git/HEAD was answered with ref: refs/heads/main"
    assert run.outcome.note == "HTTP 200; 4 requests"


@pytest.mark.parametrize("together", [True, False])
def test_what_is_wrong_with_a_service_is_said_once_whoever_comes_late(nginx: Nginx, together: bool) -> None:
    endpoints = [Endpoint(HERE, nginx.dev, name, "http") for name in (None, DEV, f"test.{ROOT}")]
    runs = [Run(*endpoints)] if together else [Run(endpoint) for endpoint in endpoints]
    at = f"{HERE}:{nginx.dev}/tcp"
    for run in runs:
        assert run.rules == {("git", at), ("security-headers", at), ("server-version", at)}
    assert sum(len(run.pages) for run in runs) == 3


def test_what_is_wrong_with_one_name_alone_is_said_of_it(nginx: Nginx) -> None:
    run = Run(*(Endpoint(HERE, nginx.plain, name, "http") for name in (None, BLOG, WWW)))
    at = f"{HERE}:{nginx.plain}/tcp"
    assert run.rules == {("server-version", at), ("security-headers", f"{BLOG}@{at}")}


# What is shared, and what is not


def by_name(answers: dict[str, dict[str, bytes]]) -> Manner:
    """A server with sites: by the name asked for, then by path."""
    scripts = {name: Scripted(paths) for name, paths in answers.items()}

    def answer(connection: Any, over: threading.Event) -> None:
        heard = connection.recv(65536)
        lines = heard.decode("latin-1").split("\r\n")
        host = next(line for line in lines if line.lower().startswith("host: "))[6:].rpartition(":")[0]
        script = scripts[host]._answers
        connection.sendall(script.get(lines[0].split(" ")[1], script["*"]))

    return answer


FORBIDDEN = page(b"<title>403</title>", status="403 Forbidden")


def test_repositories_behind_the_same_refusal_are_not_taken_for_one() -> None:
    exposed = {"/": FORBIDDEN, "/.git/HEAD": page(REF, PLAIN)}
    with Listener(by_name({HERE: exposed, WWW: exposed})) as listener:
        run = Run(*(Endpoint(HERE, listener.port, name, "http") for name in (None, WWW)))
    at = f"{HERE}:{listener.port}/tcp"
    assert run.rules == {("git", at), ("git", f"{WWW}@{at}")}


def test_another_page_with_the_same_weakness_is_another_matter() -> None:
    one, other = ({"/": page(title, "Server: x/1.0")} for title in (b"<title>1</title>", b"<title>2</title>"))
    with Listener(by_name({HERE: one, WWW: other})) as listener:
        run = Run(*(Endpoint(HERE, listener.port, name, "http") for name in (None, WWW)))
    at = f"{HERE}:{listener.port}/tcp"
    assert run.rules == {("server-version", at), ("security-headers", at), ("security-headers", f"{WWW}@{at}")}


def test_an_address_that_may_not_be_touched_is_not_asked_to_compare_with() -> None:
    site = Scripted({"/": page(b"<title>x</title>")})
    with Listener(site, "::1") as listener:
        run = Run(Endpoint("::1", listener.port, WWW, "http"))  # the scope knows nothing of ::1
        assert {site.headers(number)["host"] for number in range(len(site.asked))} == {f"{WWW}:{listener.port}"}
    assert ("security-headers", f"{WWW}@[::1]:{listener.port}/tcp") in run.rules


# Git


@pytest.mark.parametrize("head", [REF, b"ref: refs/heads/feature/a-b.c", b"a" * 40 + b"\n", b"0" * 64])
def test_heads_of_repositories_are_known(head: bytes) -> None:
    run, _ = checked({"/.git/HEAD": page(head, PLAIN)}, name=None)
    assert "git" in {rule for rule, _ in run.rules}


@pytest.mark.parametrize(
    "answer",
    [
        page(b"<html>ref: refs/heads/main</html>"),
        page(b"ref: refs/heads/main\nand more"),
        page(b"ref: refs/heads/<script>"),
        page(b"a" * 39),
        page(b""),
        page(REF, status="404 Not Found"),
        page(REF, status="206 Partial Content"),
        page(b"a" * 40 + b"\n" * 9000),
        moved("/login"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nref: refs/heads/main\n",
    ],
)
def test_what_is_no_head_is_no_repository(answer: bytes) -> None:
    run, site = checked({"/.git/HEAD": answer})
    assert "git" not in {rule for rule, _ in run.rules}
    assert len([path for path in site.paths if path.startswith("/.git")]) == 2  # one for each, name and address


@pytest.mark.parametrize("body", [REF, b"<title>welcome</title>"])
def test_a_server_that_has_everything_has_no_repository(body: bytes) -> None:
    run, site = checked({"*": page(body)}, name=None)
    assert "git" not in {rule for rule, _ in run.rules}
    assert len(site.asked) == (4 if body == REF else 3)


# Icons


def test_the_icon_is_hashed_as_search_engines_for_devices_do() -> None:
    run, _ = checked({"/favicon.ico": page(ICON, "Content-Type: image/x-icon")}, name=None)
    assert run.page.favicon == mmh3.hash(base64.encodebytes(ICON), signed=True)


def test_the_hash_is_the_one_that_is_listed() -> None:
    """64 bytes make two lines of base 64, with a line break after each: known by its value, not by its recipe."""
    run, _ = checked({"/favicon.ico": page(bytes(range(64)), "Content-Type: image/x-icon")}, name=None)
    assert run.page.favicon == _murmur3(
        b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4\nOTo7PD0+Pw==\n"
    )


def _murmur3(data: bytes) -> int:
    """MurmurHash3, x86, 32 bits, seed 0, as a signed number; by its definition."""
    mask, value = 0xFFFFFFFF, 0
    whole = len(data) // 4 * 4
    for at in range(0, len(data), 4):
        block = int.from_bytes(data[at : at + 4], "little") * 0xCC9E2D51 & mask
        value ^= (block << 15 | block >> 17) * 0x1B873593 & mask
        if at < whole:
            value = ((value << 13 | value >> 19) & mask) * 5 + 0xE6546B64 & mask
    value ^= len(data)
    value = (value ^ value >> 16) * 0x85EBCA6B & mask
    value = (value ^ value >> 13) * 0xC2B2AE35 & mask
    value ^= value >> 16
    return value - (1 << 32) if value >> 31 else value


def test_the_icon_that_the_page_names_is_taken_where_it_is_here() -> None:
    first = page(b"<link rel=icon href=http://elsewhere.example/i.ico><link rel='shortcut icon' href=/own.png>")
    run, site = checked({"/": first, "/own.png": page(ICON, "Content-Type: image/png")}, name=None)
    assert run.page.favicon == mmh3.hash(base64.encodebytes(ICON))
    assert site.paths[:2] == ["/", "/own.png"]


def test_an_icon_elsewhere_is_not_asked_for() -> None:
    other, site = Scripted({}), Scripted({})
    with Listener(site) as listener, Listener(other) as elsewhere:
        links = (
            f"<link rel=icon href=http://{HERE}:{elsewhere.port}/i.ico><link rel=icon href=data:image/png;base64,AA>"
        )
        site._answers["/"] = page(links.encode())
        Run(Endpoint(HERE, listener.port, None, "http"))
        assert elsewhere.connections == 0
    assert site.paths == ["/", "/favicon.ico", "/.git/HEAD"]


@pytest.mark.parametrize(
    "answer",
    [
        page(b"<html>not here</html>"),
        page(b"nothing", "Content-Type: text/plain"),
        page(b"", "Content-Type: image/x-icon"),
        page(ICON, "Content-Type: image/x-icon", status="404 Not Found"),
        page(b"a" * 300_000, "Content-Type: image/x-icon"),
        moved("/elsewhere.ico"),
    ],
)
def test_what_is_no_icon_has_no_hash(answer: bytes) -> None:
    run, _ = checked({"/favicon.ico": answer}, name=None)
    assert run.page.favicon is None


# Redirects and names


def test_no_other_port_is_asked_and_names_outside_are_not_told() -> None:
    site, other = Scripted({}), Scripted({})
    with Listener(site) as listener, Listener(other) as elsewhere:
        site._answers["/"] = moved(f"http://{WWW}:{elsewhere.port}/")
        assert Run(Endpoint(HERE, listener.port, WWW, "http")).names == []
        for host, names in (
            ("mail.pulsar.test", ["mail.pulsar.test"]),
            ("evil.example", []),
            ("notpulsar.test", []),
            (f"{HERE}:{elsewhere.port}", []),
            ("_a$b.pulsar.test", []),
            ("xn--mller-kva.pulsar.test", ["xn--mller-kva.pulsar.test"]),
        ):
            site._answers["/"] = moved(f"https://{host}/")
            assert Run(Endpoint(HERE, listener.port, WWW, "http")).names == names
        assert elsewhere.connections == 0


def test_a_page_behind_a_redirect_here_is_the_one_that_counts() -> None:
    answers = {"/": moved("/app/?a=1&b=2"), "/app/?a=1&b=2": page(b"<title>the app</title>")}
    run, site = checked(answers, name=None)
    assert (run.page.status, run.page.title) == (200, "the app")
    assert run.page.redirects[0].endswith("/app/?a=1&b=2")
    assert run.page.url.endswith("/")
    assert run.outcome.note == "HTTP 200; 4 requests"
    assert len(site.asked) == 4


# Bounds, and what is said


@pytest.mark.parametrize(
    ("manner", "outcome"),
    [
        (hang, Outcome.TIMED_OUT),
        (close, Outcome.SILENT),
        (flood, Outcome.ANSWERED),
        (drip, Outcome.ANSWERED),
        (babble, Outcome.ANSWERED),
    ],
)
def test_who_does_not_speak_http_is_covered_and_shows_nothing(manner: Manner, outcome: Outcome) -> None:
    with Listener(manner) as listener:
        run = Run(Endpoint(HERE, listener.port, WWW, "http"), options={"timeout": 1})
    assert (run.outcome.outcome, run.pages, run.findings) == (outcome, {}, [])
    assert run.outcome.note


def test_an_endpoint_that_hangs_holds_up_no_other() -> None:
    with Listener(hang) as silent, Listener(Scripted({"/": page(b"<title>x</title>")})) as open_one:
        batch = [Endpoint(HERE, listener.port, None, "http") for listener in (silent, open_one)]
        run = Run(*batch, options={"timeout": 1})
    assert [run.coverage[subject_of(each)].outcome for each in batch] == [Outcome.TIMED_OUT, Outcome.ANSWERED]


@pytest.mark.parametrize(("path", "what"), [("/favicon.ico", "the icon"), ("/.git/HEAD", ".git/HEAD")])
def test_what_was_not_found_out_is_said_and_the_page_counts(path: str, what: str) -> None:
    run, _ = checked({"/": page(b"<title>x</title>"), path: hang}, name=None, timeout=1)
    assert run.page.title == "x"
    assert run.outcome.outcome is Outcome.TIMED_OUT
    assert f"{what}: no answer within 1 s" in run.outcome.note
    run, _ = checked({"/": page(b"<title>x</title>"), path: close}, name=None)
    assert (run.outcome.outcome, run.page.title) == (Outcome.ANSWERED, "x")
    assert f"{what}: it closed without an answer" in run.outcome.note


@pytest.mark.parametrize("service", ["http", "https"])
def test_a_stopped_scan_waits_for_nobody(service: str) -> None:
    stopped = threading.Event()
    with Listener(hang) as listener:
        timer = threading.Timer(0.3, stopped.set)
        timer.start()
        begun = time.monotonic()
        run = Run(Endpoint(HERE, listener.port, WWW, service), stopped=stopped, options={"timeout": 60})
        assert time.monotonic() - begun < 2
        timer.join()
    assert (run.outcome.outcome, run.outcome.note) == (Outcome.NOT_LOOKED_AT, "the scan was stopped")


def test_when_the_time_for_the_unit_is_up_it_says_so_and_keeps_what_it_has() -> None:
    with Listener(hang) as silent, Listener(Scripted({"/": page(b"", "Server: x/1.0")})) as open_one:
        batch = [Endpoint(HERE, listener.port, None, "http") for listener in (silent, open_one)]
        run = Run(*batch, seconds=1.5, options={"timeout": 60})
    assert run.coverage[subject_of(batch[0])].note == "the time for this unit ran out"
    assert run.coverage[subject_of(batch[1])].outcome is Outcome.ANSWERED
    assert ("server-version", subject_of(batch[1])) in run.rules


def test_what_a_hostile_server_says_is_kept_clean() -> None:
    hostile = "\x1b[31m\u202e<script>alert(1)</script>"
    answers = {"/": page(f"<title>{hostile}=1+1</title>".encode(), "Server: a/1.0 \x85 \x1b[31m x", "Location: \x9b")}
    run, _ = checked(answers, name=None)  # type: ignore[arg-type]
    for finding in run.findings:
        assert finding.evidence.isprintable()
    assert (run.page.title or "").isprintable()
    assert (run.page.server or "").isprintable()


def test_requests_pass_one_after_another_at_the_rate() -> None:
    begun = time.monotonic()
    _, site = checked({"/": page(b"")}, name=None, rate=10)
    assert time.monotonic() - begun >= 0.2
    assert len(site.asked) == 3


@pytest.mark.parametrize(
    ("options", "paths"),
    [
        ({}, ["/", "/favicon.ico", "/.git/HEAD"]),
        ({"git": False}, ["/", "/favicon.ico"]),
        ({"favicon": False}, ["/", "/.git/HEAD"]),
        ({"git": False, "favicon": False}, ["/"]),
    ],
)
def test_it_asks_for_no_more_than_it_was_told_to(options: dict[str, Any], paths: list[str]) -> None:
    _, site = checked({"/": page(b"")}, None, **options)
    assert site.paths == paths
    assert {site.headers(number)["user-agent"] for number in range(len(paths))} == {USER_AGENT}


def test_it_calls_itself_as_it_is_told_to() -> None:
    _, site = checked({}, None, user_agent="Auditor (you@example.test)")
    assert site.headers()["user-agent"] == "Auditor (you@example.test)"


@pytest.mark.parametrize("agent", ["a\r\nX: y", "", " a", "ä", "a" * 201])
def test_a_name_that_no_header_may_hold_is_refused(agent: str) -> None:
    with pytest.raises(ValueError, match="user_agent"):
        configure({"user_agent": agent}, Pace(3, 3600, "top:100"))


def test_intensity_is_how_many_at_once_and_how_fast() -> None:
    asked = [configure({}, Pace(intensity, 3600, "top:100")) for intensity in range(6)]
    assert [(each.parallel, each.rate) for each in asked] == list(PACES)
    assert configure({"rate": 7}, Pace(5, 3600, "top:100")).rate == 7


def test_it_takes_web_services_only_and_those_of_one_service_together() -> None:
    (intake,) = TOOL.accepts
    assert intake.where(Endpoint(HERE, 80, WWW, "http"))
    assert intake.where(Endpoint(HERE, 443, WWW, "http", "ssl"))
    assert not intake.where(Endpoint(HERE, 22, WWW, "ssh"))
    assert not intake.where(Endpoint(HERE, 80, WWW))
    assert intake.key(Endpoint(HERE, 80, WWW)) == intake.key(Endpoint(HERE, 80)) != intake.key(Endpoint(HERE, 81))
    assert TOOL.risk is Risk.SAFE


def test_progress_ends_at_a_hundred() -> None:
    reported: list[float] = []
    with Listener(Scripted({})) as listener:
        Run(*(Endpoint(HERE, listener.port, name, "http") for name in (None, WWW, BLOG)), report=reported.append)
    assert reported == pytest.approx([100 / 3, 200 / 3, 100])


def test_a_hundred_names_of_one_service_cost_what_they_must() -> None:
    site = Scripted({"/": page(b"<title>x</title>", "Server: x/1.0")})
    with Listener(site) as listener:
        names = [None, *(f"n{number}.{ROOT}" for number in range(100))]
        run = Run(*(Endpoint(HERE, listener.port, name, "http") for name in names), options={"rate": 1000})
    at = f"{HERE}:{listener.port}/tcp"
    assert run.rules == {("server-version", at), ("security-headers", at)}
    assert len(run.pages) == 101
    assert len(site.asked) == 3 * 101
