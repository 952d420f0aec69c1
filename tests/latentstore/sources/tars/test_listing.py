"""Tars as a source: which members make a sample, what becomes of odd members, and of damaged tars."""

from __future__ import annotations

import bz2
import io
import json
import lzma
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from source_files import fill, pixels, png, reason, tar

import latentstore
from latentstore import ArgumentError, StoreError
from latentstore.cli.main import main
from latentstore.codecs.modality import AUDIO
from latentstore.loaders.remote.location import Location
from latentstore.sources import BadItem, Source, open_source
from latentstore.sources.images import read_image
from latentstore.sources.labels import Labels


def test_samples_of_tars(tmp_path: Path) -> None:
    first = {
        "x/000.PNG": png(0), "x/000.cls": b"7", "x/000.json": '{"k": "ü"}'.encode(),
        "x/000.seg.png": b"mask", "._x/000.png": b"junk",
        "001.txt": "später".encode(), "001.png": png(1),
    }  # fmt: skip
    tar(tmp_path / "s-0.tar", first)
    tar(tmp_path / "s-1.tar", {"001.png": png(2), "001.cls": b"1\n", "002.json": b"{}"})
    expected = [
        ("x/000", 0, {"label": 7, "json": '{"k": "ü"}', "seg.png": b"mask", "txt": ""}),
        ("001", 1, {"label": -1, "json": "", "seg.png": b"", "txt": "später"}),
        ("001_s-1", 2, {"label": 1, "json": "", "seg.png": b"", "txt": ""}),
    ]
    for url in (tmp_path, f"{tmp_path}/s-{{0..1}}.tar", [f"{tmp_path}/s-0.tar", f"{tmp_path}/s-1.tar"]):
        source = open_source(url)
        assert (source.kind, len(source), source.classes) == ("tars", 4, None)
        assert source.passed_over == {"hidden or system member": 1}
        for item, (key, seed, fields) in zip(pickle.loads(pickle.dumps(source.items)), expected, strict=False):
            data, got = item.load()
            assert (item.key, got) == (key, fields)
            np.testing.assert_array_equal(read_image(data), pixels(seed))
        assert source[3].key == "002"
        assert "no image among its members (json)" in reason(source[3])


# webdataset leaves its tar for the garbage collector to close.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_same_samples(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "w.tar")) as writer:
        for i in range(5):
            writer.write({"__key__": f"k/{i}", "png": png(i), "cls": i, "txt": f"n {i}"})
    samples = list(webdataset.WebDataset(str(tmp_path / "w.tar"), shardshuffle=False))
    source = open_source(tmp_path / "w.tar")
    assert [item.key for item in source] == [sample["__key__"] for sample in samples]
    for item, sample in zip(source, samples, strict=True):
        data, fields = item.load()
        assert data == sample["png"]
        assert fields == {"label": int(sample["cls"]), "txt": sample["txt"].decode()}


def test_fields_that_are_no_numbers_or_text(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {"0.png": png(0), "0.cls": b"dog", "1.png": png(1), "1.txt": b"\xff"})
    source = open_source(path)
    assert "b'dog' (.cls) is not a whole number" in reason(source[0])
    assert "is not UTF-8" in reason(source[1])


def test_of_a_tar_cut_at_any_length_the_whole_samples_are_kept(tmp_path: Path) -> None:
    whole = tar(tmp_path / "whole.tar", {f"{i}.png": png(i) for i in range(4)}).read_bytes()
    cut = tmp_path / "cut.tar"
    used = len(whole.rstrip(b"\0"))
    for length in [*range(0, used, 97), *range(512, used + 1, 512)]:
        cut.write_bytes(whole[:length])
        *samples, last = open_source(cut)
        assert "cut short or damaged" in reason(last) and last.path == "cut.tar"
        good = [item for item in samples if not isinstance(item, BadItem)]
        # of the last member before the cut nobody can tell whether others of its sample followed
        assert len(good) <= len(samples) <= len(good) + 1
        for i, item in enumerate(good):
            np.testing.assert_array_equal(read_image(item.read()), pixels(i))
            assert item.signal.start + item.signal.length <= length
    cut.write_bytes(whole[: 3 * 1024 + 10])
    assert "the 2 whole samples before it are kept" in reason(list(open_source(cut))[-1])
    broken = bytearray(whole)
    at = whole.index(b"2.png")
    broken[at + 100] ^= 1
    cut.write_bytes(broken)
    assert f"no valid header at byte {at}" in reason(list(open_source(cut))[-1])


def test_one_damaged_tar_does_not_end_the_others(tmp_path: Path) -> None:
    whole = tar(tmp_path / "s" / "0.tar", {"a.png": png(0), "b.png": png(1)}).read_bytes()
    (tmp_path / "s" / "1.tar").write_bytes(whole[:700])
    (tmp_path / "s" / "2.tar").write_bytes(b"")
    report = latentstore.convert(tmp_path / "s", tmp_path / "x.zarr", size=16, progress=False)
    assert report.stored == 2 and [f.path for f in report.failures] == ["1.tar/a", "1.tar", "2.tar"]
    assert "it is empty" in report.failures[2].reason
    with pytest.raises(latentstore.ImageError, match=r"1\.tar/a: the tar is cut short"):
        latentstore.convert(tmp_path / "s", tmp_path / "y.zarr", size=16, progress=False, on_error="raise")


def test_samples_that_are_left_out(tmp_path: Path) -> None:
    two = {"0.png": png(0), "1.png": png(1), "0.txt": b"late"}
    late, good = open_source(tar(tmp_path / "a.tar", two))
    assert "members of sample 0 do not follow each other" in reason(late)
    np.testing.assert_array_equal(read_image(good.read()), pixels(1))
    with tarfile.open(tmp_path / "b.tar", "w") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("0.png"))
    assert "two members with the extension 'png'" in reason(open_source(tmp_path / "b.tar")[0])
    labels = {"0.png": png(0), "0.cls": b"1", "0.label": b"2", "1.png": png(1), "1.label": b"3"}
    both, good = open_source(tar(tmp_path / "l.tar", labels))
    assert "both .cls and .label" in reason(both)
    assert good.load()[1] == {"label": 3}
    up = {"../0.png": png(0), "a/../../1.png": png(1), "2.png": png(2)}
    *bad, good = open_source(tar(tmp_path / "u.tar", up))
    assert ["leads out of the tar" in reason(item) for item in bad] == [True, True]
    assert good.key == "2"


def test_tars_that_are_refused(tmp_path: Path) -> None:
    plain = tar(tmp_path / "plain.tar", {"0.png": png(0)}).read_bytes()
    with tarfile.open(tmp_path / "c.tar", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("0.png"))
    # these are told by their first bytes; zstd and lz4 are not in this Python
    (tmp_path / "x.tar").write_bytes(lzma.compress(plain))
    (tmp_path / "b.tar").write_bytes(bz2.compress(plain))
    (tmp_path / "z.tar").write_bytes(b"\x28\xb5\x2f\xfd" + plain)
    for name, kind in (("c", "gzip"), ("x", "xz"), ("b", "bzip2"), ("z", "zstd")):
        with pytest.raises(ArgumentError, match=rf"{name}\.tar is compressed \({kind}\)"):
            open_source(tmp_path / f"{name}.tar")
    (tmp_path / "zip.tar").write_bytes(b"PK\x03\x04" + plain)
    with pytest.raises(ArgumentError, match="a ZIP archive, not a tar"):
        open_source(tmp_path / "zip.tar")
    with pytest.raises(ArgumentError, match="compressed"):
        open_source(tmp_path / "d.tar.gz")
    with pytest.raises(StoreError, match=r"absent\.tar"):
        open_source(tmp_path / "absent.tar")
    with pytest.raises(ArgumentError, match=r"ends in \.tar"):
        open_source([str(tmp_path)])
    mixed = fill(tmp_path / "mixed", "a.png")
    tar(mixed / "a.tar", {"0.png": png(0)})
    with pytest.raises(ArgumentError, match=r"holds tars and 'a\.png' too"):
        open_source(mixed)


# ---- odd members


def links(path: Path, members: list[tuple[str, bytes, str]]) -> Path:
    """A tar of (name, type, target) after the file a.png."""
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("d/a.png")
        info.size = len(png(0))
        archive.addfile(info, io.BytesIO(png(0)))
        for name, kind, target in members:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target
            archive.addfile(link)
    return path


def test_links_are_what_they_point_to(tmp_path: Path) -> None:
    hard, soft = tarfile.LNKTYPE, tarfile.SYMTYPE
    source = open_source(
        links(
            tmp_path / "l.tar",
            [
                ("d/b.png", hard, "d/a.png"), ("d/c.png", soft, "a.png"), ("e/f.png", soft, "../d/./a.png"),
                ("g.png", soft, "h.png"), ("h.png", soft, "d/c.png"),
                ("lost.png", soft, "nothing.png"), ("out.png", soft, "/etc/passwd"), ("up.png", soft, "../../a.png"),
                ("loop1.png", soft, "loop2.png"), ("loop2.png", soft, "loop1.png"),
            ],
        )
    )  # fmt: skip
    good = [item for item in source if not isinstance(item, BadItem)]
    assert [item.key for item in good] == ["d/a", "d/b", "d/c", "e/f", "g", "h"]
    for item in good:
        np.testing.assert_array_equal(read_image(item.read()), pixels(0))
    reasons = {item.key: reason(item) for item in source if isinstance(item, BadItem)}
    assert set(reasons) == {"lost", "out", "up", "loop1", "loop2"}
    assert "lost.png is a link to nothing.png, which is no file in this tar" in reasons["lost"]
    assert "a link to /etc/passwd" in reasons["out"] and "without an end" in reasons["loop1"]
    (told,) = source.remarks
    assert (told.kind, told.count) == ("linked-member", 5)


def test_tars_one_behind_the_other_are_all_read(tmp_path: Path) -> None:
    parts = [tar(tmp_path / f"{i}.tar", {"a.png": png(i), "a.cls": str(i).encode()}).read_bytes() for i in range(3)]
    (tmp_path / "all.tar").write_bytes(b"".join(parts))
    source = open_source(tmp_path / "all.tar")
    assert [item.key for item in source] == ["a", "a_all", "a_all_2"]
    for i, item in enumerate(source):
        data, fields = item.load()
        assert fields == {"label": i}
        np.testing.assert_array_equal(read_image(data), pixels(i))
    # zeros behind the mark are padding; other bytes are told of, and what is before them is kept
    (tmp_path / "padded.tar").write_bytes(parts[0] + bytes(1 << 20))
    assert len(open_source(tmp_path / "padded.tar")) == 1
    for behind in (b"x", b"x" * 512, b"x" * 5000):
        (tmp_path / "more.tar").write_bytes(parts[0] + behind)
        *_, last = open_source(tmp_path / "more.tar")
        assert "are no tar" in reason(last)


def test_special_and_sparse_members(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        for name, kind in (("dir", tarfile.DIRTYPE), ("pipe.png", tarfile.FIFOTYPE), ("device.png", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type = kind
            archive.addfile(info)
        sparse = tarfile.TarInfo("0.png")
        sparse.pax_headers = {"GNU.sparse.size": "1000", "GNU.sparse.map": "0,10,900,10", "GNU.sparse.name": "0.png"}
        sparse.size = 20
        archive.addfile(sparse, io.BytesIO(bytes(20)))
        info = tarfile.TarInfo("ü" * 200 + ".png")  # a name that needs a PAX header
        info.size = len(png(1))
        archive.addfile(info, io.BytesIO(png(1)))
    bad, good = source = open_source(tmp_path / "s.tar")
    assert source.passed_over == {"device or pipe": 2}
    assert "0.png is a sparse member" in reason(bad)
    assert good.key == "ü" * 200
    np.testing.assert_array_equal(read_image(good.read()), pixels(1))


def test_absolute_names_lose_their_slash(tmp_path: Path) -> None:
    source = open_source(tar(tmp_path / "a.tar", {"/x/0.png": png(0), ".//1.png": png(1)}))
    assert [item.key for item in source] == ["x/0", "1"]
    assert [(told.kind, told.count) for told in source.remarks] == [("absolute-member", 1)]


def test_headers_that_lie(tmp_path: Path) -> None:
    whole = tar(tmp_path / "w.tar", {"0.png": png(0), "1.png": png(1)}).read_bytes()
    at = whole.index(b"1.png")

    def forged(size: bytes, kind: bytes) -> Source:
        header = bytearray(whole[at : at + 512])
        header[124:136], header[156:157] = size, kind
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        (tmp_path / "f.tar").write_bytes(whole[:at] + bytes(header) + whole[at + 512 :])
        return open_source(tmp_path / "f.tar")

    most, negative = b"\x80" + b"\xff" * 11, b"\xff" * 11 + b"\x00"
    for size in (most, negative, b"77777777777\0", b"zzzzzzzzzzz\0"):
        for kind in (b"0", b"x", b"L", b"g", b"S"):  # a file, headers before a file, a sparse file
            *_, last = forged(size, kind)
            assert "cut short or damaged" in reason(last) or "sparse" in reason(last), (size, kind)


# ---- which member is the signal


def test_one_rule_says_which_member_is_the_image(tmp_path: Path) -> None:
    both = tar(tmp_path / "b.tar", {"a.jpg": png(0), "a.png": png(1), "b.png": png(2), "b.jpg": png(3)})
    with pytest.raises(ArgumentError, match=r"sample a: its members \.jpg, \.png could each be the image; .*member"):
        open_source(both)
    chosen = open_source(both, member="png")
    assert [item.load()[1] for item in chosen] == [{"jpg": png(0)}, {"jpg": png(3)}]
    np.testing.assert_array_equal(read_image(chosen[1].read()), pixels(2))
    views = tar(tmp_path / "v.tar", {"0.left.png": png(0), "0.right.png": png(1)})
    with pytest.raises(ArgumentError, match=r"\.left\.png, \.right\.png could each"):
        open_source(views)
    (right,) = open_source(views, member="right.png")
    np.testing.assert_array_equal(read_image(right.read()), pixels(1))
    assert right.load()[1] == {"left.png": png(0)}
    (only,) = open_source(tar(tmp_path / "o.tar", {"0.view.png": png(4), "0.txt": b"one"}))
    np.testing.assert_array_equal(read_image(only.read()), pixels(4))
    mixed = {"0.png": png(0), "1.png": png(1), "1.jpg": png(2), "2.txt": b""}
    good, unclear, none = open_source(tar(tmp_path / "m.tar", mixed))
    assert good.load()[1] == {} and "could each be the image" in reason(unclear)
    assert "no image among its members (txt)" in reason(none)
    assert "no member .webp (png)" in reason(open_source(tmp_path / "m.tar", member="webp")[0])


def test_members_are_chosen_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = str(tar(tmp_path / "b.tar", {"a.jpg": png(0), "a.png": png(1)}))
    target = str(tmp_path / "x.zarr")
    assert main(["convert", both, target, "--size", "native"]) == 2
    assert "could each be the image" in capsys.readouterr().err
    assert main(["convert", both, target, "--size", "native", "--image-member", ".PNG"]) == 0
    assert latentstore.open(target)[0]["jpg"] == png(0)
    assert main(["convert", both, str(tmp_path / "y.zarr"), "--codec", "rgb-f8c48", "--audio-member", "wav"]) == 2
    assert "audio_member is given, and rgb-f8c48 is a codec of images" in capsys.readouterr().err


def test_numbers_of_a_conversion_add_up(tmp_path: Path) -> None:
    members = {
        "0.png": png(0), "1.png": b"no image", "2.txt": b"no image either", "3.png": png(3), "3.cls": b"9" * 19,
        ".hidden.png": png(4), "__MACOSX/5.png": png(5), "6.png": png(6), "0.txt": b"late",
    }  # fmt: skip
    path = tar(tmp_path / "a.tar", members)
    path.write_bytes(path.read_bytes() + b"x" * 600)
    report = latentstore.convert(path, tmp_path / "x.zarr", size=16, progress=False)
    assert (report.stored, len(report.failures), sum(report.passed_over.values())) == (1, 5, 2)
    assert "beyond 64 bits" in next(f.reason for f in report.failures if f.key == "3")
    said = json.loads((tmp_path / "x.zarr" / "key" / "report.json").read_bytes())
    assert said["found"] == said["stored"] + said["left_out"] + sum(said["passed_over"].values()) == 8


def test_files_beside_tars_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "tars"
    folder.mkdir()
    tar(folder / "a.tar", {"0.png": png(0), ".hidden.png": png(1)})
    tar(folder / ".b.tar", {"1.png": png(1)})
    for name in ("README.md", "a.idx", "a.tar.idx", "labels.csv", "classes.txt", "Thumbs.db"):
        (folder / name).write_text("path,label\n0,x\n" if name == "labels.csv" else "x\n")
    (folder / ".git").mkdir()
    labels = Labels(str(folder / "labels.csv"), classes=str(folder / "classes.txt"))
    assert open_source(folder, labels).passed_over == {
        "hidden or system member": 1, "hidden or system file": 3, "file beside the tars": 2,
        "text beside the data (.md)": 1, "table of labels": 1, "list of classes": 1,
    }  # fmt: skip
    assert open_source(folder / "a.tar").passed_over == {"hidden or system member": 1}
    report = latentstore.convert(folder, folder / "x.zarr", size=16, progress=False)
    assert report.passed_over["file beside the tars"] == 2
    assert report.found == 1 + 1 + 3 + 2 + 3


def test_recordings_have_the_same_rule(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", {"0.wav": b"RIFF", "0.mp3": b"ID3"})
    with pytest.raises(ArgumentError, match=r"\.wav, \.mp3 could each be the recording; say by audio_member"):
        open_source(path, modality=AUDIO)
    assert len(open_source(path, modality=AUDIO, member="mp3")) == 1


# ---- remote


def test_remote_tars(s3_server: dict[str, Any], tmp_path: Path) -> None:
    import s3fs

    local = tar(tmp_path / "t-0.tar", {"0.png": png(0), "0.cls": b"3", "1.png": png(1), "1.cls": b"4"})
    fs = s3fs.S3FileSystem(**s3_server)
    fs.pipe_file("bucket/tars/t-0.tar", local.read_bytes())
    for url in ("s3://bucket/tars", "s3://bucket/tars/t-{0..0}.tar"):
        source = open_source(url, storage_options=s3_server)
        data, fields = source[1].load()
        assert (source[1].key, fields) == ("1", {"label": 4})
        np.testing.assert_array_equal(read_image(data), pixels(1))


def test_a_remote_tar_is_not_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    content = {f"{i}.png": png(i) + bytes(100_000) for i in range(8)}
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, member in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(member)
            archive.addfile(info, io.BytesIO(member))
    location = Location("memory://tars not whole")
    location.write("t.tar", file.getvalue())
    monkeypatch.setattr("latentstore.sources.tars.headers.BLOCK_BYTES", 4096)
    read: list[int] = []
    plain = Location.read_ranges

    def counting(self: Location, ranges: Any) -> list[bytes]:
        read.extend(end - start for _, start, end in ranges)
        return plain(self, ranges)

    monkeypatch.setattr(Location, "read_ranges", counting)
    source = open_source("memory://tars not whole/t.tar")
    assert max(read) <= 4096 and sum(read) < len(file.getvalue()) // 4
    assert [source[i].read() for i in (0, 7)] == [content["0.png"], content["7.png"]]
    with source[3].opened() as part:
        assert part.read() == content["3.png"]


def test_labels_for_tars(tmp_path: Path) -> None:
    path = tar(tmp_path / "t.tar", {"0.png": png(0), "0.cls": b"3"})
    (tmp_path / "l.csv").write_text("key,label,x\n0,9,y\n")
    assert open_source(path, tmp_path / "l.csv")[0].load()[1] == {"label": 9, "x": "y"}


def test_the_class_of_an_image_whose_name_has_dots(tmp_path: Path) -> None:
    members = {
        "0.a.png": png(0), "0.a.cls": b"7", "1.png": png(1), "1.cls": b"3",
        "2.a.png": png(2), "2.b.cls": b"5", "3.a.png": png(3), "3.a.cls": b"1", "3.cls": b"2",
    }  # fmt: skip
    fields = [item.load()[1] for item in open_source(tar(tmp_path / "x.tar", members))]
    assert [one["label"] for one in fields] == [7, 3, -1, 2]
    assert [one["b.cls"] for one in fields] == [b"", b"", b"5", b""]


def test_names_that_are_not_utf_8_become_text(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        for name in ("caf\udce9/1.png", "caf\udce8/1.png", "2.png", "../\udce8.png"):
            info = tarfile.TarInfo(name)
            info.size = len(png(0))
            archive.addfile(info, io.BytesIO(png(0)))
    latentstore.convert(tmp_path / "x.tar", tmp_path / "x.zarr", size=16)
    assert sorted(latentstore.open(tmp_path / "x.zarr").keys()) == ["2", "caf\ufffd/1", "caf\ufffd/1_x"]
    (left_out,) = (tmp_path / "x.zarr/key/quarantine.jsonl").read_text("utf-8").splitlines()
    assert "its name ../\ufffd.png leads out" in json.loads(left_out)["reason"]
