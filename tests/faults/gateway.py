"""A door in front of a server: it lets everything through, or answers in its stead, Prefect's 503 unless told else."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from threading import Event, Thread
from typing import Self

from tests.conftest import free_port

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
PIECE = 65536


class Gateway:
    """Listens on `port` of loopback while its context is open, and passes on to `behind`."""

    def __init__(self, behind: int, answer: bytes = BUSY) -> None:
        self.port = free_port()
        self._answer = answer
        self.refused = 0
        self._behind = behind
        self._busy = False
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._ready = Event()
        self._thread = Thread(target=self._run, name="gateway", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def close_door(self) -> None:
        """From now on nobody is let through; what is open is cut."""
        self._busy = True
        self._loop.call_soon_threadsafe(self._cut)

    def open_door(self) -> None:
        """Let everything through again."""
        self._busy = False

    def _cut(self) -> None:
        for writer in list(self._open):
            writer.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.set_exception_handler(lambda loop, context: None)  # connections that are cut complain
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._cut()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.1))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            if self._busy:
                self.refused += 1
                await reader.read(PIECE)
                writer.write(self._answer)
                await writer.drain()
                return
            with suppress(OSError):
                theirs, ours = await asyncio.open_connection("127.0.0.1", self._behind)
                self._open.add(ours)
                try:
                    await asyncio.gather(_pass(reader, ours), _pass(theirs, writer))
                finally:
                    self._open.discard(ours)
                    ours.close()
        finally:
            self._open.discard(writer)
            writer.close()


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await source.read(PIECE):
            sink.write(piece)
            await sink.drain()
    sink.close()
