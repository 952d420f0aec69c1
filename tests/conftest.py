"""What several test files need: a codec, random latents, small stores of every layout, an object store."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

try:
    from hypothesis import HealthCheck, settings
except ModuleNotFoundError:  # golden files are also tested where nothing but the package is installed
    pass
else:
    # The same examples in every run, on every machine, however busy it is: what fails can be repeated.
    settings.register_profile("suite", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("suite")

LAYOUTS = ("zarr-fixed", "zarr-native", "wds-fixed", "wds-native", "versions-fixed", "versions-native")
SIZE = (40, 56)


@dataclass
class Store:
    """A store and what went into it. latents[i] is int8 (c, h, w) of sample i."""

    url: str
    layout: str
    latents: list[np.ndarray]
    keys: list[str]
    fields: list[dict[str, Any]]
    counts: list[int]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where LATENTSTORE_SKIPS is set, a test that skips for a reason that it does not match fails the run."""
    allowed = os.environ.get("LATENTSTORE_SKIPS")
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if allowed is None or reporter is None:
        return
    for report in reporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not re.search(allowed, reason):
            reporter.write_line(f"\nnot to be skipped here: {report.nodeid}: {reason}", red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """What the environment tells programs of the user's stores, clouds, proxies and jobs is none of the tests'."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            told = name.startswith(("LATENTSTORE_ARTIFACTS", "LATENTSTORE_CACHE", "AWS_"))
            if told or name.lower().endswith("_proxy") or name in ("RANK", "WORLD_SIZE", "COLUMNS"):
                patch.delenv(name)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, os.devnull)
        yield


@pytest.fixture(scope="module", autouse=True)
def _empty_memory() -> Iterator[None]:
    """What a file of tests leaves at memory:// is dropped: every listing there looks at all that the process has."""
    yield
    memory = sys.modules.get("fsspec.implementations.memory")
    if memory is not None:
        memory.MemoryFileSystem.store.clear()
        memory.MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(scope="session")
def codec() -> Any:
    from latentstore import load_codec

    return load_codec("rgb-f8c48")


@pytest.fixture(scope="session")
def other_artifact(codec: Any) -> bytes:
    """An artifact that differs from that of `codec` in its name alone, and so in its hash."""
    from latentstore.codecs.artifact.file import make_artifact

    return make_artifact({**codec.artifact.facts, "name": "other"}, codec.artifact.tensors)


@pytest.fixture(scope="session")
def make_samples(codec: Any) -> Callable[..., tuple[list[Any], list[np.ndarray]]]:
    """make_samples(count, size, first=0) -> (samples, latents); deterministic in `first`."""
    from latentstore.writing import Sample

    def make(count: int, size: tuple[int, int] | None, first: int = 0) -> tuple[list[Any], list[np.ndarray]]:
        samples, latents = [], []
        for i in range(first, first + count):
            rng = np.random.default_rng(i)
            height, width = size or (int(rng.integers(1, 70)), int(rng.integers(1, 70)))
            c, h, w = codec.latent_shape(height, width)
            fade = 6.0 / (1 + np.arange(c))[:, None, None]
            latent = np.clip(np.rint(rng.laplace(size=(c, h, w)) * fade), -127, 127).astype(np.int8)
            fields = {
                "label": i % 3,
                "txt": f"caption ü {i}",
                "score": i / 2,
                "mask": bytes([i % 256]) * (i % 5),
            }
            groups = codec.encode_latent_groups(latent)
            samples.append(Sample(f"a b/é {i:04d}", groups, width, height, fields))
            latents.append(latent)
        return samples, latents

    return make


@pytest.fixture(scope="session")
def make_store(codec: Any, make_samples: Any) -> Callable[..., Store]:
    """make_store(folder, layout, counts=(8, 8, 4), storage_options=None) -> Store, with shards of 8."""
    from latentstore.writing import StoreSpec, open_writer

    def make(
        folder: Path | str, layout: str, counts: Sequence[int] = (8, 8, 4),
        storage_options: dict[str, Any] | None = None,
    ) -> Store:  # fmt: skip
        kind, sizes = layout.split("-")
        url = f"{folder}/störe 1" + (".zarr" if kind == "zarr" else "")
        size = SIZE if sizes == "fixed" else None
        spec = StoreSpec.of(codec, size=size, shard_samples=8, source="made", classes=["x", "y", "z"])
        writer = open_writer(url, spec, format=kind, storage_options=storage_options)
        store = Store(url, layout, [], [], [], list(counts))
        for index, count in enumerate(counts):
            samples, latents = make_samples(count, size, len(store.latents))
            writer.write_shard(index, samples)
            store.latents += latents
            store.keys += [s.key for s in samples]
            store.fields += [s.fields for s in samples]
        writer.finish(len(counts))
        return store

    return make


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def _shared_stores(tmp_path_factory: pytest.TempPathFactory, make_store: Any) -> Callable[[str], Store]:
    made: dict[str, Store] = {}

    def get(layout: str) -> Store:
        if layout not in made:
            made[layout] = make_store(tmp_path_factory.mktemp(layout), layout)
        return made[layout]

    return get


@pytest.fixture
def store(layout: str, _shared_stores: Any) -> Store:
    """A store of 20 samples in three shards, in each layout in turn. Shared: read only."""
    return _shared_stores(layout)


@pytest.fixture
def batched_pipeline() -> Iterator[None]:
    """Zarr's usual pipeline, whatever it is told to use: for tests of what only that one does. It decodes many chunks
    in one call, gives parts of a shard's chunks to the codec, and reads by the asynchronous methods of a store."""
    import zarr

    with zarr.config.set({"codec_pipeline.path": "zarr.core.codec_pipeline.BatchedCodecPipeline"}):
        yield


@pytest.fixture(scope="session")
def odd_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files of every odd kind (see tests/support/sources/odd_images.py). Shared: read only."""
    from odd_images import write_odd_images

    return write_odd_images(tmp_path_factory.mktemp("odd"))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[dict[str, Any]]:
    """storage_options of an S3 server on this machine; bucket "bucket" is there."""
    server_module = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    before = {name: os.environ.get(name) for name in keys}
    os.environ.update(keys)
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {"key": "test", "secret": "test", "client_kwargs": {"endpoint_url": f"http://{host}:{port}"}}
    import s3fs

    s3fs.S3FileSystem(**options).mkdir("bucket")
    yield options
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture
def s3_options(s3_server: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """storage_options; afterwards the connections are closed that zarr's stores leave open."""
    import s3fs
    from zarr.core.sync import sync

    s3fs.S3FileSystem.clear_instance_cache()
    yield s3_server
    for fs in list(s3fs.S3FileSystem._cache.values()):
        if fs.asynchronous and fs._s3 is not None:
            sync(fs._s3.__aexit__(None, None, None))
    s3fs.S3FileSystem.clear_instance_cache()
