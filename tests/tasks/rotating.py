"""A name server whose wildcard answers with many addresses, or with a new one each time."""

from __future__ import annotations

from itertools import count

import dns.message
import dns.rrset

from tests.estate.name_server import NameServer


class Rotating(NameServer):
    """Answers any name below `pool.test` with an address it never gave before, or one of a few; one is its own."""

    def __init__(self, size: int | None) -> None:
        super().__init__({"own.test": "A 127.0.0.1"})
        self._numbers = count()
        self._size = size

    def _answer(self, query: dns.message.Message, transport: str) -> dns.message.Message | None:
        question = query.question[0]
        response = dns.message.make_response(query)
        label = question.name.labels[0].decode()
        if label == "mail":
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", "CNAME", "mx.other.test."))
        elif question.rdtype == 1:
            number = next(self._numbers) % self._size if self._size else next(self._numbers)
            address = "127.9.9.9" if label == "shop" else f"127.{1 + number // 250}.0.{number % 250}"
            response.answer.append(dns.rrset.from_text(question.name, 60, "IN", "A", address))
        return response
