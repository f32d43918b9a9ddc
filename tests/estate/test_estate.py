"""The estate is what its description says, asked with bare tools from the scanner's side."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.estate import addresses as at
from tests.estate.estate import Estate, lacking


@pytest.fixture(scope="module")
def estate() -> Iterator[Estate]:
    if reason := lacking():
        if os.environ.get("CI") and os.geteuid() == 0:
            pytest.fail(reason)
        pytest.skip(reason)
    with Estate() as made:
        yield made


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (("www.pulsar.test", "A"), [at.WWW]),
        (("anything.apps.pulsar.test", "A"), [at.OFFICE]),
        (("cdn.pulsar.test", "A"), ["edge.neighbour.test.", at.NEIGHBOUR]),
        (("-x", at.WWW), ["www.pulsar.test."]),
        (("pulsar.test", "AXFR"), ["; Transfer failed."]),
    ],
)
def test_the_name_server_knows_the_zone(estate: Estate, question: tuple[str, str], answer: list[str]) -> None:
    said = estate.scanner.run(["dig", "+short", f"@{at.NS2}", *question]).stdout
    assert said.splitlines() == answer


def test_one_zone_is_given_away(estate: Estate) -> None:
    said = estate.scanner.run(["dig", "+noall", "+answer", f"@{at.NS2}", "corp.pulsar.test", "AXFR"]).stdout
    assert {line.split()[0] for line in said.splitlines()} >= {"printer-4fl.corp.pulsar.test.", "corp.pulsar.test."}


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"https://{at.EXPIRED}/", "<title>expired</title>"),
        (f"http://{at.FILES}/", "Index of /"),
        (f"http://{at.DEV}/.git/HEAD", "ref: refs/heads/main"),
        (f"https://[{at.WEB6}]/", "<title>www</title>"),
    ],
)
def test_web_sites_answer(estate: Estate, url: str, words: str) -> None:
    assert words in estate.scanner.run(["curl", "--silent", "--insecure", "--globoff", url]).stdout


@pytest.mark.parametrize(
    ("address", "port", "product"),
    [
        (at.BASTION, 22, "OpenSSH 9"),
        (at.OLD_SSH, 22, "OpenSSH 7.2p2"),
        (at.OLD_FTP, 21, "ProFTPD 1.3.5"),
        (at.OLD_MAIL, 25, "Exim smtpd 4.87"),
        (at.MAIL, 587, "Postfix smtpd"),
        (at.CACHE, 6379, "Redis key-value store"),
        (at.FTP, 21, "vsftpd 3"),
        (at.NS1, 53, "ISC BIND 9.11.4"),
    ],
)
def test_nmap_names_what_answers(estate: Estate, address: str, port: int, product: str) -> None:
    argv = ["nmap", "-n", "-Pn", "-sS", "-sV", "-p", str(port), address]
    said = estate.scanner.run(argv, timeout=60).stdout
    assert f"{port}/tcp" in said
    assert product in said


def test_who_goes_where_nothing_may_go_is_seen(estate: Estate) -> None:
    assert estate.trespasses() == {}
    estate.scanner.run(["curl", "--silent", "--max-time", "2", f"http://{at.NEIGHBOUR}/"])
    assert estate.trespasses().keys() == {at.NEIGHBOUR}
