"""A TCP proxy before a server, for faults of the network: delay, silence, reset, a thin line, a cut at a chosen word.

It runs in a thread with an event loop of its own. `with Proxy(port) as proxy: connect to proxy.port`.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

CHUNK = 16_384


class Proxy:
    def __init__(self, to_port: int) -> None:
        self.port = 0
        self.delay_seconds = 0.0  # of every piece, in each direction
        self.bytes_per_second = 0  # 0: no limit
        self.cuts = 0  # connections that were cut at the word
        self._to_port = to_port
        self._flowing = threading.Event()
        self._flowing.set()
        self._cut_at = self._after = b""
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    # ---- faults

    def silence(self) -> None:
        """Half-open: connections stay and new ones are taken, but nothing passes any more."""
        self._flowing.clear()

    def speak(self) -> None:
        self._flowing.set()

    def reset(self) -> None:
        """Every connection ends at once, without a goodbye."""
        self._loop.call_soon_threadsafe(self._abort_all)

    def cut_reply_to(self, word: bytes, after: bytes = b"") -> None:
        """Once: what holds `word` reaches the server, its reply never comes back.

        With `after`, only on a connection that has said that before.
        """
        self._after, self._cut_at = after, word

    # ---- the life of it

    def __enter__(self) -> Proxy:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        self._flowing.set()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", self.port)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._abort_all()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    def _abort_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
        ends = {writer, there_writer}
        self._writers |= ends
        try:
            await asyncio.gather(
                self._pass_on(reader, there_writer, ends, asking=True),
                self._pass_on(there_reader, writer, ends, asking=False),
            )
        except OSError:
            pass
        finally:
            self._writers -= ends
            for end in ends:
                end.transport.abort()

    async def _pass_on(self, source, sink, ends, *, asking: bool) -> None:
        said = False
        while data := await source.read(CHUNK):
            while not self._flowing.is_set():
                await asyncio.sleep(0.02)
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            if self.bytes_per_second:
                await asyncio.sleep(len(data) / self.bytes_per_second)
            sink.write(data)
            await sink.drain()
            said = said or self._after in data
            if asking and said and self._cut_at and self._cut_at in data:
                await self._cut(source, sink, ends)
                return
        with suppress(OSError):
            sink.write_eof()

    async def _cut(self, source, sink, ends) -> None:
        """The server is given time to act on what it has, then both ends are gone."""
        self._cut_at = b""
        # whoever asked must hear nothing: its end goes first
        next(end for end in ends if end is not sink).transport.abort()
        await asyncio.sleep(0.2)
        sink.transport.abort()
        self.cuts += 1
