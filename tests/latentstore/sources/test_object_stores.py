"""Folders on object stores and web servers hold the same entries as folders on a disk."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from source_files import pixels, png, reason, tar

import latentstore
from latentstore import ArgumentError
from latentstore.sources import BadItem, Source, open_source
from latentstore.sources.images import read_image

ODD = ["a.png", "sp ace.png", "per%20cent.png", "q?x.png", "ha#sh.png", "ü.png", "amp&.png", "plus+.png"]
ON_S3 = ["st*ar.png", "br[a]ck.png", "co;l:on.png", "x//double.png"]
MARKERS = ["", "cat/", "emu/", "old_$folder$"]


def check(source: Source, names: list[str]) -> None:
    """Every image is there under its own name, and an object of no bytes is named."""
    found = {item.path: item for item in source}
    assert set(found) == {"cat/empty.png", *(f"cat/{name}" for name in names)}
    assert source.classes == ("cat",) and source.passed_over == {}
    for i, name in enumerate(names):
        item = found[f"cat/{name}"]
        assert item.key == f"cat/{name.removesuffix('.png')}" and item.fields == {"label": 0}
        np.testing.assert_array_equal(read_image(item.read()), pixels(i))
    assert reason(found["cat/empty.png"]) == "the file is empty"


@pytest.fixture
def bucket(s3_server: dict[str, Any], request: pytest.FixtureRequest) -> Any:
    """A function that puts objects below a folder of their own, and its URL."""
    import boto3

    client = s3_server["client_kwargs"]
    boto = boto3.client("s3", aws_access_key_id=s3_server["key"], aws_secret_access_key=s3_server["secret"], **client)
    folder = request.node.name

    def put(objects: dict[str, bytes]) -> str:
        for name, data in objects.items():
            boto.put_object(Bucket="bucket", Key=f"{folder}/{name}", Body=data)
        return f"s3://bucket/{folder}"

    return put


def test_odd_names_markers_and_empty_objects(bucket: Any, s3_server: dict[str, Any]) -> None:
    names = [*ODD, *ON_S3]
    objects = {f"cat/{name}": png(i) for i, name in enumerate(names)}
    url = bucket({**objects, "cat/empty.png": b"", **dict.fromkeys(MARKERS, b"")})
    check(open_source(url, storage_options=s3_server), names)


def test_a_name_that_the_client_cuts_is_named(bucket: Any, s3_server: dict[str, Any]) -> None:
    url = bucket({"a.png": png(0), "b?versionId=5.png": png(1)})
    good, bad = open_source(url, storage_options=s3_server)
    assert good.key == "a" and isinstance(bad, BadItem)
    assert "'?versionId='" in reason(bad) and "rename it" in reason(bad)


def test_an_empty_object_is_left_out_of_a_conversion(bucket: Any, s3_server: dict[str, Any], tmp_path: Path) -> None:
    url = bucket({"a.png": png(0), "b.png": b""})
    report = latentstore.convert(url, tmp_path / "x.zarr", size=16, progress=False, storage_options=s3_server)
    assert (report.found, report.stored) == (2, 1)
    assert [(f.path, f.reason) for f in report.failures] == [("b.png", "the file is empty")]


def test_tars_beside_markers(bucket: Any, s3_server: dict[str, Any], tmp_path: Path) -> None:
    whole = tar(tmp_path / "a.tar", {"0.png": png(0), "0.txt": b"", "1.txt": b"x", "1.png": png(1)}).read_bytes()
    url = bucket({"x y%20z.tar": whole, "none.tar": b"", "": b"", "old_$folder$": b""})
    empty, first, second = open_source(url, storage_options=s3_server)
    assert "it is empty" in reason(empty)
    assert [first.load()[1], second.load()[1]] == [{"txt": ""}, {"txt": "x"}]


def test_a_table_of_no_bytes(bucket: Any, s3_server: dict[str, Any]) -> None:
    url = bucket({"images/a.png": png(0), "labels.csv": b""})
    with pytest.raises(ArgumentError, match=r"labels\.csv has no rows"):
        open_source(f"{url}/images", f"{url}/labels.csv", storage_options=s3_server)


# ---- web servers


@contextmanager
def served(handler: Any) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Silent(http.server.SimpleHTTPRequestHandler):
    """Python's own listing."""

    def log_message(self, *_: Any) -> None:
        pass


def test_a_listing_of_a_web_server(tmp_path: Path) -> None:
    folder = tmp_path / "src" / "cat"
    folder.mkdir(parents=True)
    for i, name in enumerate(ODD):
        (folder / name).write_bytes(png(i))
    (folder / "empty.png").write_bytes(b"")
    with served(functools.partial(Silent, directory=str(tmp_path))) as url:
        check(open_source(f"{url}/src"), ODD)


class Sortable(Silent):
    """A listing with links to sort it and to go up, as Apache and nginx write it."""

    def answer(self) -> None:
        if self.path.rstrip("/") not in ("/src", "/src/cat", "/src/cat/1.png"):
            self.send_error(404)
            return
        links = ["?C=N;O=D", "?C=M;O=A", "/", "../", "cat/"] if self.path.rstrip("/") == "/src" else ["/src/", "1.png"]
        page = "".join(f'<a href="{link}">{link}</a>' for link in links).encode()
        data, kind = (png(1), "image/png") if self.path == "/src/cat/1.png" else (page, "text/html")
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    do_GET = do_HEAD = answer  # noqa: N815 (http.server names them)


def test_links_that_sort_a_listing_are_no_entries() -> None:
    with served(Sortable) as url:
        (item,) = open_source(f"{url}/src")
        assert (item.key, item.fields) == ("cat/1", {"label": 0})
        np.testing.assert_array_equal(read_image(item.read()), pixels(1))
