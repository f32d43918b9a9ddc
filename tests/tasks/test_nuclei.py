"""The nuclei module: what it asks, and how it reads what matched. Real services: `test_nuclei_live`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from footprint.errors import FeedMissing, InvalidTarget, OutputNotUnderstood, ToolCrashed, ToolTimedOut
from footprint.records import Coverage, Endpoint, Finding, Outcome, Service, Severity
from footprint.settings import Settings
from tasks.nuclei import TOOL, NucleiOptions, check, command, configure, installed
from tasks.nuclei_answers import MOST, PROBE, parse, progress
from tasks.tool import Ending, Output, Pace, Risk

HERE = "127.0.0.1"
NAME = "www.example.test"
TEMPLATES = Path(__file__).parent.parent / "fixtures/nuclei_templates"
WHOLE = '{"percent":"100","templates":"3"}\n'


def _web(port: int, name: str | None = NAME, service: str = "http", address: str = HERE) -> Endpoint:
    return Endpoint(address, port, name, service)


def _match(template: str = "one", *, url: str = f"http://{NAME}/", info: Mapping[str, Any] = {}, **other: Any) -> str:
    named = {name.replace("_", "-"): value for name, value in other.items()}
    return json.dumps({"template-id": template, "info": {"name": "A", **info}, "url": url, "matched-at": url, **named})


def _read(*lines: str, stdout: str = WHOLE, **output: Any) -> list[Any]:
    return list(parse(Output(stdout, files={"found": "\n".join(lines)}, **output), [_web(80)]))


def _findings(found: list[Any]) -> list[Finding]:
    return [each for each in found if isinstance(each, Finding)]


def _coverage(found: list[Any]) -> list[Coverage]:
    return [each for each in found if isinstance(each, Coverage)]


# Asking


def test_names_are_told_with_their_address_so_that_none_is_resolved() -> None:
    asked = command([_web(80), _web(8443, "b.example.test", "https"), _web(80, None)], NucleiOptions())
    assert asked.files["targets"] == f"http://{NAME}/\nhttps://b.example.test:8443/\nhttp://{HERE}/\n"
    assert asked.files["hosts"] == f"{HERE} {NAME}\n{HERE} b.example.test\n"
    assert "HOSTS_PATH=hosts" in asked.argv


def test_endpoints_of_two_addresses_share_no_process() -> None:
    one, other = _web(80), _web(80, address="127.0.0.2")
    assert TOOL.accepts[0].lane(one) != TOOL.accepts[0].lane(other)
    with pytest.raises(InvalidTarget):
        command([one, other], NucleiOptions())


@pytest.mark.parametrize("name", ["a b.test", "a\nb.test", "a.test\n127.0.0.9 b.test", "-x.test", "A.test", "a@b.test"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidTarget) as error:
        command([_web(80, name)], NucleiOptions())
    assert name not in str(error.value)


@pytest.mark.parametrize("record", [_web(80, address="www.test"), _web(0), Service(HERE, 80)])
def test_what_is_no_place_on_the_web_is_refused(record: Any) -> None:
    with pytest.raises(InvalidTarget):
        command([record], NucleiOptions())


def test_networks_inside_are_closed_to_it_where_the_target_is_outside() -> None:
    assert "-lna" in command([_web(80, address="8.8.8.8")], NucleiOptions()).argv
    assert "-lna" not in command([_web(80)], NucleiOptions()).argv


def test_what_is_never_asked_for_is_never_asked_for() -> None:
    argv = command([_web(80)], configure({}, Pace(5, 3600, "top:100"))).argv
    assert {"-duc", "-ni", "-dr"} <= set(argv)
    assert argv[argv.index("-pt") + 1] == "http"
    assert not {"-code", "-headless", "-file", "-esc", "-fr", "-fhr", "-sr", "-dast", "-u", "-ut"} & set(argv)


def test_templates_that_do_harm_are_left_out_unless_the_policy_says_otherwise() -> None:
    argv = command([_web(80)], NucleiOptions()).argv
    assert {"dos", "intrusive", "fuzz"} <= set(argv[argv.index("-etags") + 1].split(","))
    bold = command([_web(80)], NucleiOptions(exclude_tags=(), tags=("cve", "panel"))).argv
    assert "-etags" not in bold
    assert bold[bold.index("-tags") + 1] == "cve,panel"


def test_the_filters_leave_in_what_tells_who_answers() -> None:
    answers = command([_web(80)], NucleiOptions(severities=("critical",), tags=("cve",))).files["answers.yaml"]
    assert "severity: critical, tags: cve" in answers


def test_the_templates_are_those_of_the_installation() -> None:
    chosen = NucleiOptions(templates="/somewhere/else")
    assert installed(chosen, Settings(nuclei_templates=TEMPLATES), "3.4.10").templates == str(TEMPLATES)


def test_without_templates_it_says_how_to_come_by_some(tmp_path: Path) -> None:
    for directory in (None, tmp_path, tmp_path / "missing"):
        with pytest.raises(FeedMissing) as error:
            check(Settings(nuclei_templates=directory), None)
        assert "PULSAR_NUCLEI_TEMPLATES" in error.value.hint
    check(Settings(nuclei_templates=TEMPLATES), None)


def test_it_is_intrusive_and_its_pace_follows_the_intensity() -> None:
    assert TOOL.risk is Risk.INTRUSIVE
    rates = [configure({}, Pace(intensity, 3600, "top:100")).rate for intensity in range(6)]
    assert rates == sorted(set(rates))


# Reading


def test_a_reference_is_null_a_text_or_a_list() -> None:
    url = "https://example.test/1"
    for reference in (url, [url], ["javascript:x", url]):
        assert _findings(_read(_match(info={"reference": reference})))[0].reference == url
    for reference in (None, [], "see the manual"):
        assert _findings(_read(_match(info={"reference": reference})))[0].reference == ""


@pytest.mark.parametrize(
    ("word", "severity"),
    [("info", "none"), ("unknown", "none"), ("low", "low"), ("critical", "critical"), ("x", "none")],
)
def test_severities_are_told_in_our_words(word: str, severity: str) -> None:
    assert _findings(_read(_match(info={"severity": word})))[0].severity is Severity(severity)


def test_a_vector_is_kept_only_where_it_is_one() -> None:
    vector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"
    sound, unsound = (
        _findings(_read(_match(info={"classification": {"cvss-metrics": text, "cvss-score": score}})))[0]
        for text, score in ((vector, 7.5), ("CVSS:3.1/<b>", 75))
    )
    assert (sound.cvss, sound.score) == (vector, 7.5)
    assert (unsound.cvss, unsound.score) == (None, None)


def test_matchers_of_a_template_are_findings_of_their_own_and_places_of_one_are_evidence() -> None:
    found = _findings(
        _read(_match(matcher_name="a"), _match(matcher_name="b"), _match(matcher_name="b", url=f"http://{NAME}/x"))
    )
    assert [each.rule for each in found] == ["nuclei/one/a", "nuclei/one/b"]
    assert found[1].evidence == f"matched at http://{NAME}/, http://{NAME}/x"


def test_a_template_that_matches_everywhere_does_not_fill_the_evidence() -> None:
    many = [_match(url=f"http://{NAME}/{number}", extracted_results=["A" * 900] * 20) for number in range(50)]
    (finding,) = _findings(_read(*many))
    assert len(finding.evidence) < 2000
    assert "45 more" in finding.evidence


def test_a_rule_is_made_of_words() -> None:
    assert _findings(_read(_match("<b>x</b>"), _match(""), _match("a b"))) == []
    assert _findings(_read(_match(matcher_name="a b\n")))[0].rule == "nuclei/one"


def test_more_findings_than_mean_anything_are_a_sample() -> None:
    found = _read(*(_match(f"t{number}") for number in range(MOST + 5)))
    assert len(_findings(found)) == MOST
    assert _coverage(found)[0].outcome is Outcome.SAMPLED


def test_a_match_somewhere_else_is_nobodys() -> None:
    for url in ("http://other.example.test/", f"http://{NAME}:81/", "http://[x/", "", f"http://{NAME}:99999/"):
        assert _findings(_read(_match(url=url))) == []


def test_what_was_asked_at_another_address_is_nobodys_and_an_error() -> None:
    output = Output(WHOLE, files={"found": f"{_match('one', ip='127.0.0.9')}\n{_match('two', ip=HERE)}\n"})
    found: list[Any] = []
    with contextlib.suppress(ToolCrashed):
        for each in parse(output, [_web(80)]):
            found += [each]
        pytest.fail("that it strayed is an error")
    assert [each.rule for each in _findings(found)] == ["nuclei/two"]


def test_who_did_not_answer_is_silent() -> None:
    (coverage,) = _read()
    assert coverage.outcome is Outcome.SILENT
    (coverage,) = _read(_match(PROBE, extracted_results=["404"]))
    assert (coverage.outcome, coverage.note) == (Outcome.ANSWERED, "HTTP 404, 0 templates matched")


def test_half_a_line_is_left_out_and_the_rest_counts() -> None:
    found = _read(_match("one"), _match("two")[:-20], ending=Ending.KILLED, returncode=137)
    assert [each.rule for each in _findings(found)] == ["nuclei/one"]
    assert _coverage(found)[0].outcome is Outcome.NOT_LOOKED_AT


def test_an_address_that_held_it_up_is_an_error_and_what_it_found_counts() -> None:
    found: list[Any] = []
    output = Output(WHOLE, ending=Ending.TIMED_OUT, seconds=9, files={"found": _match()})
    with contextlib.suppress(ToolTimedOut):
        for each in parse(output, [_web(80)]):
            found += [each]
        pytest.fail("that it was held up is an error")
    assert [type(each) for each in found] == [Finding, Coverage]
    assert found[-1].outcome is Outcome.TIMED_OUT


def test_a_start_that_failed_says_why() -> None:
    with pytest.raises(ToolCrashed) as error:
        _read(stdout="[INF] all is well\n[FTL] Could not run nuclei: no such thing\n", returncode=1)
    assert error.value.hint == "Could not run nuclei: no such thing"
    with pytest.raises(OutputNotUnderstood):
        _read(stdout="something else altogether")


def test_templates_that_were_not_taken_are_not_nothing_found() -> None:
    with pytest.raises(ToolCrashed) as error:
        _read(_match(PROBE), stdout=WHOLE.replace('"3"', '"1"'))
    assert "severities and tags" in error.value.hint


def test_progress_is_the_last_percentage_and_never_above_a_hundred() -> None:
    assert progress('{"percent":"20"}\n{"percent":"40"}\n') == 40
    assert progress('{"percent":"123"}') == 100
    assert progress('{"percent":"9223372036854775808"}\n[INF] done') is None
