"""A small object store that speaks as much of S3 as the tests need; its writes are conditional or not, as they say."""

from __future__ import annotations

import hashlib
import threading
import urllib.parse
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class PlainS3(ThreadingHTTPServer):
    """Objects of one bucket, "bucket", by their names.

    conditions: what a write on the condition that there is no object does: "kept" (412 if there is one), "ignored",
    "refused" (501), "bare" (412 without saying which condition). pause: seconds that a write takes after its check,
    if it has none. answer: (status, body) given to everything instead. refuses: given "PUT name", "LIST prefix" and the
    like, says whether that is answered by 403. stall: if there is one, every request waits for it.
    "refused" (501), "bare" (412 without saying which condition). together: if there is one, writes without conditions
    meet there: none is done before so many have come, and none is answered before they are done. answer: (status, body)
    given to everything instead. stall: if there is one, every request waits for it.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, conditions: str = "kept") -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.conditions = conditions
        self.together: threading.Barrier | None = None
        self.answer: tuple[int, bytes] | None = None
        self.refuses: Callable[[str], bool] = lambda what: False
        self.stall: threading.Event | None = None
        self.objects: dict[str, bytes] = {}
        self.lock = threading.Lock()
        self.log: list[str] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def options(self) -> dict[str, Any]:
        """storage_options of a client of it."""
        client = {"endpoint_url": f"http://127.0.0.1:{self.server_port}", "region_name": "us-east-1"}
        return {"key": "test", "secret": "test", "client_kwargs": client}

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PlainS3

    def go(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        name = urllib.parse.unquote(url.path).removeprefix("/bucket").lstrip("/")
        body = self._body()
        self.server.log.append(f"{self.command} {name}")
        if self.server.stall is not None:
            self.server.stall.wait(30)
        listed = self.command == "GET" and (not name or "list-type" in query)
        what = f"LIST {query.get('prefix', '')}" if listed else f"{self.command} {name}"
        if self.server.answer is not None:
            self._say(*self.server.answer)
        elif self.server.refuses(what):
            self._say(403, b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
        elif self.command == "PUT":
            self._put(name, body)
        elif self.command == "POST":  # delete many
            for piece in body.decode().split("<Key>")[1:]:
                self.server.objects.pop(urllib.parse.unquote(piece.split("</Key>")[0]), None)
            self._say(200, b"<DeleteResult/>")
        elif self.command == "DELETE":
            self.server.objects.pop(name, None)
            self._say(204)
        elif listed:
            self._list(query)
        elif (found := self.server.objects.get(name)) is None:
            self._say(404, b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>")
        else:
            self._get(found)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = go  # noqa: N815

    def _put(self, name: str, body: bytes) -> None:
        conditional = self.headers.get("If-None-Match") == "*"
        said = b"<Condition>If-None-Match</Condition>" if self.server.conditions == "kept" else b""
        if conditional and self.server.conditions == "refused":
            self._say(501, b"<Error><Code>NotImplemented</Code><Message>no such header</Message></Error>")
            return
        if conditional and self.server.conditions in ("kept", "bare"):
            with self.server.lock:
                free = name not in self.server.objects
                if free:
                    self.server.objects[name] = body
            if not free:
                self._say(412, b"<Error><Code>PreconditionFailed</Code><Message>x</Message>" + said + b"</Error>")
                return
        else:
            self._meet()
            self.server.objects[name] = body
            self._meet()
        self._say(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')

    def _meet(self) -> None:
        if self.server.together is not None:
            with suppress(threading.BrokenBarrierError):
                self.server.together.wait(30)

    def _get(self, found: bytes) -> None:
        asked = self.headers.get("Range")
        if asked is None:
            self._say(200, found, ETag='"x"')
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        if first:
            start, end = int(first), min(int(last) + 1 if last else len(found), len(found))
        else:
            start, end = max(0, len(found) - int(last)), len(found)
        if start >= len(found):
            self._say(416, b"<Error><Code>InvalidRange</Code><Message>x</Message></Error>")
            return
        self._say(206, found[start:end], **{"Content-Range": f"bytes {start}-{end - 1}/{len(found)}"})

    def _list(self, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        keys, folders = [], set()
        for name in sorted(self.server.objects):
            rest = name.removeprefix(prefix)
            if not name.startswith(prefix):
                continue
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.split(delimiter)[0] + delimiter)
            else:
                size = len(self.server.objects[name])
                keys.append(
                    f"<Contents><Key>{name}</Key><Size>{size}</Size><ETag>x</ETag>"
                    "<LastModified>2026-01-01T00:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
                )
        common = "".join(f"<CommonPrefixes><Prefix>{f}</Prefix></CommonPrefixes>" for f in sorted(folders))
        count = len(keys) + len(folders)
        text = (
            f"<ListBucketResult><Name>bucket</Name><Prefix>{prefix}</Prefix><KeyCount>{count}</KeyCount>"
            f"<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>{''.join(keys)}{common}</ListBucketResult>"
        )
        self._say(200, text.encode())

    def _body(self) -> bytes:
        if self.headers.get("Expect"):
            self.send_response_only(100)
            self.end_headers()
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "aws-chunked" not in self.headers.get("Content-Encoding", ""):
            return data
        whole, at = b"", 0
        while True:  # pieces, each behind its length
            end = data.index(b"\r\n", at)
            size = int(data[at:end].split(b";")[0], 16)
            if not size:
                return whole
            whole += data[end + 2 : end + 2 + size]
            at = end + 2 + size + 2

    def _say(self, status: int, body: bytes = b"", **headers: str) -> None:
        try:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
        except OSError:  # the client has given up
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass
