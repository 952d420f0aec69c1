"""Clients of S3 beside each other: ranged reads of 8 MB from a server that is 20 ms away and fails now and then.

Each reads the same ranges, eight at a time. "reads that failed": those that the caller is told of, or that came wrong.
s3fs and obstore try again by themselves; as latentstore uses a client, it makes one attempt, and
`loaders.remote.retry` tries again.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import numpy as np

from benchmarks.support.servers import BUCKET, FarS3, far_s3
from latentstore.loaders.remote.location import Location

PART = 8 << 20
OBJECTS, PARTS = 4, 4
SIDE_BY_SIDE = 8
ROUNDS = 3
SMALL, SMALLS = 100_000, 64

Ranges = list[tuple[str, int, int]]
Reads = Callable[[Ranges], list[Any]]


def ours(s3: FarS3) -> Reads:
    """latentstore: s3fs of one attempt, within its own retries."""
    place = Location(f"s3://{BUCKET}", s3.far)

    def read(ranges: Ranges) -> list[Any]:
        return each(ranges, lambda item: place.read_parts([item])[0])

    return read


def s3fs_alone(s3: FarS3) -> Reads:
    """s3fs as it comes, with its retries and those of botocore."""
    import s3fs

    fs = s3fs.S3FileSystem(**s3.far, skip_instance_cache=True)
    return lambda ranges: list(
        fs.cat_ranges(
            [f"{BUCKET}/{name}" for name, _, _ in ranges],
            [a for _, a, _ in ranges],
            [b for _, _, b in ranges],
            batch_size=SIDE_BY_SIDE,
            on_error="return",
        )
    )


def obstore_alone(s3: FarS3, retries: int = 10) -> Reads:
    """obstore, with its retries; 0 for one attempt."""
    import obstore

    store = obstore.store.S3Store(
        BUCKET,
        endpoint=s3.far_url,
        access_key_id="test",
        secret_access_key="test",
        region="us-east-1",
        client_options={"allow_http": True},
        retry_config={"max_retries": retries, "retry_timeout": timedelta(seconds=60)},
    )

    def one(item: tuple[str, int, int]) -> Any:
        name, start, end = item
        return obstore.get_range(store, name, start=start, end=end)

    return lambda ranges: each(ranges, one)


def each(ranges: Ranges, read: Callable[[tuple[str, int, int]], Any]) -> list[Any]:
    """What `read` gives of each range, or the error."""

    def tried(item: tuple[str, int, int]) -> Any:
        try:
            return read(item)
        except Exception as error:  # noqa: BLE001  # it is counted
            return error

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return list(pool.map(tried, ranges))


def race(s3: FarS3, entrants: dict[str, Reads], ranges: Ranges, contents: dict[str, bytes]) -> list[list[object]]:
    """Rows of the table: of each entrant its fastest round, and what failed in all of them."""
    best = dict.fromkeys(entrants, float("inf"))
    bad, requests = dict.fromkeys(entrants, 0), dict.fromkeys(entrants, 0)
    for _ in range(ROUNDS):
        for name, read in entrants.items():
            s3.reset()
            begin = time.perf_counter()
            got = read(ranges)
            best[name] = min(best[name], time.perf_counter() - begin)
            requests[name] += s3.reset().requests
            for (key, a, b), data in zip(ranges, got, strict=True):
                bad[name] += isinstance(data, Exception) or bytes(data) != contents[key][a:b]
    total = sum(b - a for _, a, b in ranges) / 1e6
    return [[name, total / best[name], bad[name], ROUNDS * len(ranges), requests[name]] for name in entrants]


def main() -> None:
    common.header("Clients of S3: ranged reads", "s3fs", "obstore")
    rng = np.random.default_rng(0)
    contents = {f"object{i}": rng.bytes(PARTS * PART) for i in range(OBJECTS)}
    large = [(name, i * PART, (i + 1) * PART) for name in contents for i in range(PARTS)]
    small = [(name, i * SMALL, (i + 1) * SMALL) for name in contents for i in range(SMALLS // OBJECTS)]
    for failures in (0.0, 0.05):
        with far_s3(failures=failures, small=True) as s3:
            place = Location(f"s3://{BUCKET}", s3.near)
            for name, data in contents.items():
                place.write(name, data)
            entrants = {
                "latentstore, over s3fs": ours(s3),
                "s3fs": s3fs_alone(s3),
                "obstore": obstore_alone(s3),
                "obstore, one attempt": obstore_alone(s3, 0),
            }
            for title, ranges in (("8 MB", large), ("100 kB", small)):
                print(f"\n{failures:.0%} of the requests fail, ranges of {title}")
                rows = race(s3, entrants, ranges, contents)
                common.table(["", "MB/s", "reads that failed", "of", "requests"], rows)


if __name__ == "__main__":
    main()
