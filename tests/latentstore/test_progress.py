"""What a long job shows: counts and words, lines in a log, a bar on a terminal; nothing that ends the job."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from latentstore import progress
from latentstore.progress import Progress, clock, counted, megabytes, printable


class Clock:
    """Stands in for the module `time`: seconds pass only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0.0 kB"), (99_949, "99.9 kB"), (1e5, "0.1 MB"), (25e6, "25.0 MB"), (3.456e9, "3.46 GB")]
)
def test_bytes(count: float, said: str) -> None:
    assert megabytes(count) == said


def test_nouns() -> None:
    assert [counted(1, "shard"), counted(2000, "shard"), counted(0, "entry", "entries")] == [
        "1 shard",
        "2,000 shards",
        "0 entries",
    ]


@pytest.mark.parametrize(("seconds", "said"), [(0, "0:00"), (59.9, "0:59"), (61, "1:01"), (3723, "1:02:03")])
def test_clock(seconds: float, said: str) -> None:
    assert clock(seconds) == said


def test_no_name_steers_a_terminal() -> None:
    assert printable("ü 图\x1b[31m\n\udcff") == "ü 图\\x1b[31m\\n\\udcff"


def test_counts_speed_and_time_left(time: Clock) -> None:
    with Progress(show=False) as shown:
        shown.begin("converting", total=100, unit="images", before=20)
        assert shown.status() == "20 of 100 images"
        time.now += 10
        shown.advance(40, bytes_in=2_000_000, bytes_out=100_000)
        assert shown.status() == "60 of 100 images, 4.0 images/s, 2.0 MB in, 0.1 MB out, 0:10 left"


def test_counts_from_many_threads_add_up() -> None:
    with Progress(show=False) as shown, ThreadPoolExecutor(8) as pool:
        shown.begin("converting", total=8000, unit="images")
        list(pool.map(lambda _: [shown.advance(1, 2, 3) for _ in range(1000)], range(8)))
    assert (shown.done, shown.bytes_in, shown.bytes_out) == (8000, 16_000, 24_000)


def test_a_log_gets_a_line_for_each_step_and_note(time: Clock) -> None:
    log = io.StringIO()
    with Progress(show=True, stream=log) as shown:
        shown.begin("listing photos")
        shown.note("quarantined a\x1b.png")
        shown.begin("publishing")
    assert log.getvalue().splitlines() == ["listing photos ...", "quarantined a\\x1b.png", "publishing ..."]


def test_a_log_hears_of_a_step_that_takes_long(time: Clock) -> None:
    log, written = io.StringIO(), threading.Event()

    class Log(io.StringIO):
        def write(self, text: str) -> int:
            if "so far" in text:
                written.set()
            return log.write(text)

    with Progress(show=True, stream=Log()) as shown:
        shown.begin("listing photos")
        time.now += progress.EARLY_LINE_SECONDS
        assert written.wait(300)
    assert "listing photos: 0:02 so far" in log.getvalue().splitlines()


@pytest.mark.parametrize("show", [False, None])
def test_nothing_is_shown_where_nobody_asked(show: bool | None) -> None:
    log = io.StringIO()  # no terminal
    with Progress(show, stream=log) as shown:
        shown.begin("listing", total=1)
        shown.advance(1)
        shown.note("quarantined a.png")
    assert log.getvalue() == ""
    assert shown.done == 1


def test_a_closed_pipe_ends_nothing() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with Progress(show=True, stream=Closed()) as shown:
        shown.begin("listing", total=2)
        shown.note("quarantined a.png")
        shown.advance(2)
    assert (shown.done, shown.show) == (2, False)


def test_a_log_that_cannot_hold_a_name_gets_it_escaped() -> None:
    log = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    with Progress(show=True, stream=log) as shown:
        shown.note("quarantined ü.png")
    log.seek(0)
    assert log.read() == "quarantined \\xfc.png\n"


def test_a_bar_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    with Progress(stream=terminal) as shown:
        shown.begin("converting", total=4, unit="images")
        shown.advance(1, bytes_in=5_000_000)
        shown.note("quarantined [bold]a.png")
        shown.begin("publishing")
    told = terminal.getvalue()
    assert "converting" in told and "quarantined [bold]a.png" in told
    assert shown.done == 0  # of the new step
