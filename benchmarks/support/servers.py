"""S3 as it is far away: a server on loopback behind the failing proxy of the tests, each in a process of its own, so
that neither shares an interpreter with what is measured.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.support.common import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "tests" / "support" / "servers"))

from failing_proxy import Counts, FailingProxy
from plain_s3 import PlainS3

BUCKET = "bucket"
_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


class FarS3:
    """A bucket. near, far: storage_options of clients without and with the proxy in between."""

    def __init__(self, near: str, far: str, proxy: Connection) -> None:
        self.near, self.far = _options(near), _options(far)
        self.near_url, self.far_url = near, far
        self._proxy = proxy

    def reset(self) -> Counts:
        """What has gone through the proxy since the last call."""
        self._proxy.send("reset")
        counts: Counts = self._proxy.recv()
        return counts


@contextmanager
def far_s3(delay: float = 0.02, failures: float = 0.05, small: bool = False) -> Iterator[FarS3]:
    """delay: seconds that each request takes more. failures: the share, 0 to 1, of requests that fail.

    small: the server is the small one of the tests instead of moto's, which takes 0.1 s for a range of a large object.
    """
    os.environ.update(_KEYS)
    context = multiprocessing.get_context("spawn")
    processes, ends = [], []
    try:
        ports = []
        for target, arguments in ((_small if small else _moto, ()), (_proxy, (delay, failures))):
            own, other = context.Pipe()
            process = context.Process(target=target, args=(other, *ports, *arguments), daemon=True)
            process.start()
            processes.append(process)
            ends.append(own)
            ports.append(own.recv())
        near, far = (f"http://127.0.0.1:{port}" for port in ports)
        yield FarS3(near, far, ends[1])
    finally:
        for end in ends:
            end.send("end")
        for process in processes:
            process.join(10)
            process.kill()


def _options(url: str) -> dict[str, Any]:
    return {"key": "test", "secret": "test", "client_kwargs": {"endpoint_url": url, "region_name": "us-east-1"}}


def _moto(end: Connection) -> None:
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket=BUCKET)
    end.send(port)
    end.recv()
    server.stop()


def _small(end: Connection) -> None:
    server = PlainS3()
    end.send(server.server_port)
    end.recv()
    server.stop()


def _proxy(end: Connection, upstream: int, delay: float, failures: float) -> None:
    with FailingProxy(upstream, delay, failures) as proxy:
        end.send(proxy.port)
        while end.recv() == "reset":
            end.send(proxy.reset())
