"""What a name server of the tests knows: names with their records, wildcards (RFC 4592) and faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

MAX_LINKS = 32
FAULTS = frozenset({"SERVFAIL", "REFUSED", "NXDOMAIN", "DROP"})
UNSENT = FAULTS | {"SOA"}
SOA = "ns.invalid. hostmaster.invalid. 1 3600 600 86400 60"

ZoneSource = Mapping[str, str | Sequence[str]] | str


class Zone:
    """Names with their records, wildcards (RFC 4592) and faults."""

    def __init__(self, source: ZoneSource) -> None:
        self._records: dict[dns.name.Name, dict[str, list[str]]] = {}
        for name, line in _lines_of(source):
            word, _, rest = line.strip().partition(" ")
            records = self._records.setdefault(absolute(name), {})
            records.setdefault(word.upper(), []).append(rest.strip())
        self._enclosers = {above for name in self._records for above in _above(name)}

    def find(self, name: dns.name.Name) -> dict[str, list[str]] | None:
        """The records of a name by type, from the wildcard at its closest encloser too; None for NXDOMAIN."""
        if name in self._records:
            return self._records[name]
        if name in self._enclosers:
            return {}
        for above in _above(name):
            if (wildcard := dns.name.Name((b"*", *above.labels))) in self._records:
                return self._records[wildcard]
            if above in self._records or above in self._enclosers:
                return None
        return None

    def answer(self, query: dns.message.Message, *, chases: bool) -> dns.message.Message | None:
        """Answer one question, following aliases where it `chases` (as a recursive server does); None is silence."""
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA if chases else dns.flags.AA
        asked = query.question[0]
        name, rdtype = asked.name, dns.rdatatype.to_text(asked.rdtype)
        for _ in range(MAX_LINKS):
            records = self.find(name)
            if records is None:
                return negative(response, dns.rcode.NXDOMAIN, self._soa_above(name))
            if fault := _fault(records, rdtype):
                return None if fault == "DROP" else negative(response, dns.rcode.from_text(fault))
            followed = "CNAME" if "CNAME" in records and rdtype != "CNAME" else rdtype
            if followed not in records:
                return negative(response, dns.rcode.NOERROR, self._soa_above(name))
            response.answer.append(_rrset(name, followed, records[followed], asked.rdclass))
            if followed == rdtype or not chases:
                break
            name = absolute(records["CNAME"][0])
        return response

    def _soa_above(self, name: dns.name.Name) -> dns.rrset.RRset | None:
        """The SOA of the zone that a name is in (RFC 2308)."""
        tops = (top for top in (name, *_above(name)) if "SOA" in self._records.get(top, {}))
        top = next(tops, None)
        return None if top is None else _rrset(top, "SOA", self._records[top]["SOA"])

    def transfer(self, query: dns.message.Message) -> dns.message.Message:
        """Give all records of a name and below, its SOA first and last; NOTAUTH where it has none."""
        response, top = dns.message.make_response(query), query.question[0].name
        soa = self._records.get(top, {}).get("SOA")
        if soa is None:
            return negative(response, dns.rcode.NOTAUTH)
        response.flags |= dns.flags.AA
        ends = _rrset(top, "SOA", soa)
        inside = [name for name in self._records if name.is_subdomain(top)]
        pairs = [(name, rdtype) for name in inside for rdtype in self._records[name]]
        some = [_rrset(name, rdtype, self._records[name][rdtype]) for name, rdtype in pairs if rdtype not in UNSENT]
        response.answer = [ends, *some, ends]
        return response


def _lines_of(source: ZoneSource) -> Iterator[tuple[str, str]]:
    if isinstance(source, str):
        for line in filter(None, map(str.strip, source.splitlines())):
            name, _, rest = line.partition(" ")
            yield name, rest
        return
    for name, lines in source.items():
        for line in [lines] if isinstance(lines, str) else lines:
            yield name, line


def absolute(text: str) -> dns.name.Name:
    """A name, its final dot given or not."""
    return dns.name.from_text(text, origin=dns.name.root)


def _rrset(
    name: dns.name.Name, rdtype: str, records: list[str], rdclass: dns.rdataclass.RdataClass = dns.rdataclass.IN
) -> dns.rrset.RRset:
    return dns.rrset.from_text_list(name, 60, rdclass, rdtype, records, origin=dns.name.root, relativize=False)


def _above(name: dns.name.Name) -> Iterator[dns.name.Name]:
    while len(name.labels) > 2:
        name = name.parent()
        yield name


def _fault(records: dict[str, list[str]], rdtype: str) -> str | None:
    return next((fault for fault in FAULTS & records.keys() if {"", rdtype} & set(records[fault])), None)


def negative(
    response: dns.message.Message, rcode: dns.rcode.Rcode, soa: dns.rrset.RRset | None = None
) -> dns.message.Message:
    """An answer without data, in the zone whose SOA is given."""
    response.set_rcode(rcode)
    if rcode in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        response.authority.append(soa or _rrset(absolute("test"), "SOA", [SOA]))
    return response
