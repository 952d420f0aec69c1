"""A proxy in front of an HTTP server on this machine, such as moto's S3: far away, and it fails now and then.

Every request takes some milliseconds more. Some fail, in turn in the three ways that clients meet: the answer "503 Slow
Down", a connection that is closed without an answer, and an answer that breaks off in the middle. Which ones fail
follows from the seed and from the order in which the requests come. One that is sent again and again is answered in
the end.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from dataclasses import dataclass

_BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_HEAD_BYTES = 1 << 16
# How often one request fails before it is answered: fewer times than a client tries.
_MOST_IN_A_ROW = 3


@dataclass
class Counts:
    """What has gone through since the last `reset`. requests: all that came, those that failed too. bytes: of the
    answers' bodies, as sent to the client."""

    requests: int = 0
    failed: int = 0
    bytes: int = 0


class FailingProxy:
    """Listens on 127.0.0.1 while it is used as a context.

    upstream: the port of the server. delay: seconds that each request waits. failures: the share, 0 to 1, that fails.
    """

    def __init__(self, upstream: int, delay: float = 0.02, failures: float = 0.05, seed: int = 0) -> None:
        self.upstream, self.delay, self.failures = upstream, delay, failures
        self.counts = Counts()
        self.log: list[str] = []
        self.port = 0
        self._random = random.Random(seed)
        self._in_a_row: Counter[tuple[bytes, ...]] = Counter()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> FailingProxy:
        self._thread.start()
        self._ready.wait(300)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(300)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def reset(self) -> Counts:
        """Counts anew; returns what was counted."""
        before, self.counts = self.counts, Counts()
        self.log = []
        return before

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._client, "127.0.0.1", 0, limit=_HEAD_BYTES))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._request(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client has gone, or the proxy ends
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answers one request; returns whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        if b"100-continue" in head.lower():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await reader.readexactly(_length(head) or 0)
        self.counts.requests += 1
        self.log.append(head.split(b"\r\n", 1)[0].decode("latin-1"))
        await asyncio.sleep(self.delay)
        same = _request(head)
        fails = self._random.random() < self.failures and self._in_a_row[same] < _MOST_IN_A_ROW
        self._in_a_row[same] = self._in_a_row[same] + 1 if fails else 0
        kind = self.counts.failed % 3
        self.counts.failed += fails
        if fails and kind == 0:
            return await self._answer(writer, b"HTTP/1.1 503 Slow Down", _BUSY)
        if fails and kind == 1:
            return False
        status, headers, data = await self._ask(head, body)
        if head.startswith(b"HEAD"):
            writer.write(b"\r\n".join([status, *headers, b"", b""]))
            await writer.drain()
            return True
        return await self._answer(writer, status, data, headers, len(data) // 2 if fails else len(data))

    async def _answer(
        self, writer: asyncio.StreamWriter, status: bytes, data: bytes, headers: list[bytes] | None = None,
        send: int | None = None,
    ) -> bool:  # fmt: skip
        """Sends the first `send` bytes of an answer, by default all of it."""
        own = [line for line in headers or [] if not line.lower().startswith(b"content-length")]
        writer.write(b"\r\n".join([status, *own, b"Content-Length: %d" % len(data), b"", b""]))
        part = data if send is None else memoryview(data)[:send]
        writer.write(part)
        self.counts.bytes += len(part)
        await writer.drain()
        return len(part) == len(data)

    async def _ask(self, head: bytes, body: bytes) -> tuple[bytes, list[bytes], bytes]:
        """(status line, headers, body) of the server's answer; each request has a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream, limit=_HEAD_BYTES)
        lines = [line for line in head.split(b"\r\n")[:-2] if not line.lower().startswith((b"connection:", b"expect:"))]
        writer.write(b"\r\n".join([*lines, b"Connection: close", b"", b""]) + body)
        try:
            answer = await reader.readuntil(b"\r\n\r\n")
            length = 0 if head.startswith(b"HEAD") else _length(answer)
            data = await (reader.read(-1) if length is None else reader.readexactly(length))
        finally:
            writer.close()
        status, *headers = answer.split(b"\r\n")[:-2]
        return status.replace(b"HTTP/1.0", b"HTTP/1.1"), [h for h in headers if not _of_connection(h)], data


def _of_connection(header: bytes) -> bool:
    return header.lower().startswith((b"connection:", b"transfer-encoding:", b"keep-alive:"))


def _request(head: bytes) -> tuple[bytes, ...]:
    """What a request asks for: it is the same when it is sent again."""
    first, *headers = head.split(b"\r\n")
    return (first, *(line for line in headers if line.lower().startswith(b"range:")))


def _length(head: bytes) -> int | None:
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            return int(line.split(b":", 1)[1])
    return None
