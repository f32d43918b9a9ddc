"""`full_discovery` of the estate beside the same work typed by hand (pipeline.sh): time, recall and precision."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

from tests.estate import addresses as at
from tests.estate.comparison import Comparison, Seen, compare, is_ours
from tests.estate.demo import MOST_SECONDS, POLICY
from tests.estate.estate import Estate, lacking
from tests.estate.scanning import Pulsar
from tests.estate.stand_ins import StandIns
from tests.estate.truth import Port, Version, truth
from tests.estate.zone import BRUTE_FORCE, ROOT

PIPELINE = Path(__file__).with_name("pipeline.sh")
MAY_BE_TOUCHED = r"^10\.87\.0\.|^fd87::"


def discovery() -> None:
    """Measure both, each on an estate of its own; prints a block."""
    if reason := lacking():
        print(f"\ndiscovery: not measured, {reason}")
        return
    ours, found, trespasses = _by_pulsar()
    by_hand, typed, strayed = _by_hand()
    print(f"\n{POLICY} of {ROOT}, {len(truth().ports)} open ports there")
    print(f"  pulsar scan {ours:6.1f} s, by hand {by_hand:6.1f} s, ratio {ours / by_hand:.2f} (aim: at most 1.0)")
    _print("pulsar", compare(found, truth()))
    _print("by hand", compare(typed, truth())[:3])
    print(f"  packets where nothing may go: pulsar {sum(trespasses.values())}, by hand {sum(strayed.values())}")


def _by_pulsar() -> tuple[float, Seen, dict[str, int]]:
    with Estate() as estate, StandIns(estate.scanner) as stand_ins, _directory() as home:
        pulsar = Pulsar(estate, Path(home), **stand_ins.settings)
        pulsar.read_feeds()
        began = time.monotonic()
        pulsar.scan(ROOT, POLICY, seconds=MOST_SECONDS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.monotonic() - began, pulsar.seen(), estate.trespasses()


def _by_hand() -> tuple[float, Seen, dict[str, int]]:
    with Estate() as estate, StandIns(estate.scanner) as stand_ins, _directory() as directory:
        words = Path(directory) / "words"
        words.write_text("".join(f"{word}\n" for word in _words()))
        told = (ROOT, at.NS1, str(words), MAY_BE_TOUCHED, at.EXCLUDED, stand_ins.settings["ct_url"], directory)
        began = time.monotonic()
        estate.scanner.run([PIPELINE, *told], timeout=MOST_SECONDS, check=True)
        return time.monotonic() - began, _typed(Path(directory)), estate.trespasses()


def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="pulsar-bench-")


def _words() -> list[str]:
    """The words that are tried as names: the estate's, among as many that nobody uses."""
    return [*BRUTE_FORCE, "partner", "cdn", "assets", *(f"word{number}" for number in range(2000))]


def _typed(directory: Path) -> Seen:
    names = frozenset(name for name in (directory / "names").read_text().split() if is_ours(name))
    opened = [line.split() for path in directory.glob("v?.?.open") for line in path.read_text().splitlines()]
    ports = frozenset(Port(address, int(port)) for address, port in opened)
    versions = [one for path in directory.glob("v?.?.versions.xml") for one in _versions(path)]
    return Seen(names, ports, frozenset(versions), frozenset())


def _versions(report: Path) -> list[Version]:
    found = []
    for host in ElementTree.parse(report).iter("host"):
        address = next(one.attrib["addr"] for one in host.iter("address") if one.attrib["addrtype"] != "mac")
        for port in host.iter("port"):
            service = port.find("service")
            if service is not None and "product" in service.attrib:
                facts = service.attrib
                found.append(Version(address, int(port.attrib["portid"]), facts["product"], facts.get("version")))
    return found


def _print(who: str, kinds: list[Comparison]) -> None:
    for kind in kinds:
        counts = f"{len(kind.expected & kind.found)} of {len(kind.expected)}"
        print(f"  {who:8} {kind.kind:22} {counts:>10}, recall {kind.recall:.2f}, precision {kind.precision:.2f}")
