"""HTTP/1.1 over plain asyncio streams: a load generator must not need the processor that the server needs."""

from __future__ import annotations

import asyncio
import json


class Line:
    """One kept connection, opened when it is first needed and again when the server closed it."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        self.reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(
        self, method: str, path: str, *, tag: str = "", accept: str = "", body=None
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body); of a chunked answer only the head is read."""
        if self._writer is None or self._writer.is_closing():
            self.reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        text = f"{method} /api/v1{path} HTTP/1.1\r\n{self._head}"
        text += f"If-None-Match: {tag}\r\n" if tag else ""
        text += f"Accept: {accept}\r\n" if accept else ""
        data = b"" if body is None else json.dumps(body).encode()
        if method == "POST":
            kind = "Content-Type: application/json\r\n" if data else ""
            text += f"{kind}Content-Length: {len(data)}\r\n"
        self._writer.write(text.encode() + b"\r\n" + data)
        status, headers = await self._read_head()
        length = int(headers.get("content-length", 0))
        return status, headers, await self.reader.readexactly(length)

    async def _read_head(self) -> tuple[int, dict[str, str]]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in head[1:] if line)
        return int(head[0].split()[1]), {name.lower(): value.strip() for name, _, value in pairs}

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
