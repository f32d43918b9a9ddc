"""The whatweb module: what it asks, and how it reads what is said of pages. Real servers: `test_whatweb_live`."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest

from footprint.errors import InvalidTarget, OutputNotUnderstood, ToolTimedOut
from footprint.records import Coverage, Endpoint, Finding, Outcome, Technology
from tasks.tool import Ending, Output, Pace, Risk
from tasks.whatweb import TOOL, WhatWebOptions, command, configure
from tasks.whatweb_answers import MOST, parse

HERE = "127.0.0.1"
NAME = "www.example.test"
GENERATOR = b'<meta name="generator" content="WordPress 6.1.1" />'


def _web(port: int, name: str | None = NAME, service: str = "http", address: str = HERE) -> Endpoint:
    return Endpoint(address, port, name, service)


def _page(number: int = 0, status: int = 200, **plugins: Any) -> str:
    named = {name.replace("_", "-"): matched for name, matched in plugins.items()}
    return json.dumps({"target": f"http://{NAME}/#{number}", "http_status": status, "plugins": named})


def _read(*pages: str, **output: Any) -> list[Any]:
    return list(parse(Output("[\n" + "\n,\n".join(pages) + "\n]\n", **output), [_web(80)]))


def _technologies(found: list[Any]) -> dict[str, Technology]:
    return {each.name: each for each in found if isinstance(each, Technology)}


# Asking


def test_a_target_is_its_url_with_its_number_and_its_address() -> None:
    batch = [_web(80), _web(8443, None, "https"), _web(80, address="127.0.0.2"), _web(80, None, address="::1")]
    assert command(batch, WhatWebOptions()).files["places"].splitlines() == [
        f"http://{NAME}/#0 127.0.0.1", "https://127.0.0.1:8443/#1 127.0.0.1",
        f"http://{NAME}/#2 127.0.0.2", "http://[::1]/#3 ::1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["a b.test", "a\nb.test", "/etc/passwd", "a.test/#7 ::1", "-x.test", "A.test", "a@b.test"]
)
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidTarget) as error:
        command([_web(80, name)], WhatWebOptions())
    assert name not in str(error.value)


@pytest.mark.parametrize("record", [_web(80, address="www.test"), _web(0), Finding("rule", "subject")])
def test_what_is_no_place_on_the_web_is_refused(record: Any) -> None:
    with pytest.raises(InvalidTarget):
        command([record], WhatWebOptions())


def test_it_takes_web_services_by_each_of_their_names() -> None:
    assert TOOL.intake_of(_web(80))
    assert TOOL.intake_of(_web(8443, service="https-alt"))
    assert TOOL.intake_of(_web(22, service="ssh")) is None
    key = TOOL.accepts[0].key
    assert key(_web(80)) != key(_web(80, "blog.example.test")) != key(_web(80, None))


def test_it_asks_for_more_than_one_page_only_where_the_policy_is_bold() -> None:
    calm, bold = (configure({}, Pace(intensity, 3600, "top:100")) for intensity in (3, 4))
    assert (calm.aggression, bold.aggression) == (1, 3)
    assert TOOL.risk_with
    assert (TOOL.risk_with(calm), TOOL.risk_with(bold)) == (Risk.SAFE, Risk.INTRUSIVE)


# Reading


def test_what_tells_of_a_page_is_no_technology() -> None:
    found = _read(_page(Title={"string": ["Our shop"]}, Country={"string": ["RESERVED"]}, IP={"string": [HERE]}))
    assert found == [Coverage(f"{NAME}@{HERE}:80/tcp", Outcome.ANSWERED)]


def test_a_header_names_products_that_no_plugin_knows() -> None:
    server = {"string": ["Frob/2.1 (Debian) mod_x/0.3"], "os": ["Debian Linux"]}
    found = _technologies(_read(_page(HTTPServer=server, X_Powered_By={"string": ["Servlet"]})))
    assert {name: one.version for name, one in found.items()} == {"Frob": "2.1", "mod_x": "0.3", "Servlet": None}
    assert found["Frob"].detail == "Server: Frob/2.1 (Debian) mod_x/0.3"


def test_a_product_of_header_and_plugin_is_one_and_keeps_what_the_header_says() -> None:
    plugins = {"HTTPServer": {"string": ["Apache/2.4.57 (Debian)"]}, "Apache": {"version": ["2.4.57"]}}
    (apache,) = _technologies(_read(_page(**plugins))).values()
    assert (apache.name, apache.version, apache.detail) == ("Apache", "2.4.57", "Server: Apache/2.4.57 (Debian)")


def test_several_possible_versions_are_told_and_none_is_claimed() -> None:
    found = _technologies(_read(_page(Joomla={"version": ["3.1", "3.2"], "certainty": 75}, Guess={"certainty": 25})))
    assert list(found) == ["Joomla"]
    assert (found["Joomla"].version, found["Joomla"].detail) == (None, "likely; one of 3.1, 3.2")


def test_no_more_technologies_are_kept_than_mean_anything() -> None:
    found = _read(_page(**{f"Plugin{number}": {} for number in range(MOST + 5)}))
    assert len(_technologies(found)) == MOST
    assert found[-1].outcome is Outcome.SAMPLED


def test_a_number_that_was_not_asked_for_is_nobodys() -> None:
    found = _read(_page(), _page(7, Apache={"version": ["2.4"]}), _page(-1), '{"target":"#\u0661"}')
    assert [type(each) for each in found] == [Coverage]


def test_an_empty_array_without_a_reason_is_a_failure() -> None:
    with pytest.raises(OutputNotUnderstood):
        _read(files={"errors": ""})


def test_a_page_that_held_it_up_is_an_error_and_the_others_count() -> None:
    output = Output(f"[\n{_page(1, nginx={'version': ['1.22.1']})}\n", ending=Ending.TIMED_OUT, seconds=90)
    outcomes = {}
    with contextlib.suppress(ToolTimedOut):
        for each in parse(output, [_web(80), _web(81)]):
            if isinstance(each, Coverage):
                outcomes[each.subject] = each.outcome
        pytest.fail("that it was held up is an error")
    assert outcomes == {f"{NAME}@{HERE}:80/tcp": Outcome.TIMED_OUT, f"{NAME}@{HERE}:81/tcp": Outcome.ANSWERED}
