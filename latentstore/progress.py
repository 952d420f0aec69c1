"""Shows how far long work is: a bar on a terminal, plain lines elsewhere; and words for counts.

rich draws the bar on a terminal. In a log file or a pipe there is a line when a step begins, then every two seconds in
the first minute, and every ten seconds after it, so that work that hangs can be told from work that goes on.
"""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Any, TextIO

__all__ = ["Progress", "clock", "counted", "megabytes", "printable"]

EARLY_LINE_SECONDS = 2.0
LATER_LINE_SECONDS = 10.0
EARLY_SECONDS = 60.0


def megabytes(count: float) -> str:
    """Bytes as kilobytes, megabytes (10^6 bytes) or gigabytes, whichever reads best."""
    if count < 1e5:
        return f"{count / 1e3:.1f} kB"
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"


def counted(count: int, one: str, many: str = "") -> str:
    """`count` with its noun: "1 shard", "2,000 shards"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def printable(text: str) -> str:
    """`text` with control characters and undecodable bytes escaped, so that no name of a file controls a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)


def clock(seconds: float) -> str:
    """Seconds as `1:02:03` or `2:03`."""
    whole = int(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Progress:
    """Counts what is done, and shows it. `advance` may be called from any thread.

    Use it as a context manager. show: True; False counts silently; None shows only on a terminal. stream: where; None
    is stderr.

    >>> with Progress(show=False) as progress:
    ...     progress.begin("converting", total=2, unit="images")
    ...     progress.advance(done=1, bytes_in=10, bytes_out=1)
    ...     progress.status()
    '1 of 2 images'
    """

    def __init__(self, show: bool | None = True, stream: TextIO | None = None) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.show = self.stream.isatty() if show is None else show
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._ticker: threading.Thread | None = None
        self._bar: Any = None
        self._task: Any = None
        self._reset("", None, "", 0)

    def _reset(self, step: str, total: int | None, unit: str, before: int) -> None:
        self.step, self.total, self.unit, self.before = step, total, unit, before
        self.done = before
        self.bytes_in = self.bytes_out = 0
        self.began = self._last_line = time.monotonic()

    def __enter__(self) -> Progress:
        if not self.show:
            return self
        if self.stream.isatty():
            self._bar = _terminal_bar(self.stream)
        if self._bar is not None:
            self._bar.start()
        else:
            self._ticker = threading.Thread(target=self._tick, name="latentstore-progress", daemon=True)
            self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._ticker is not None:
            self._ticker.join()
            self._ticker = None
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def begin(self, step: str, total: int | None = None, unit: str = "", before: int = 0) -> None:
        """Starts a step of `total` things. before: how many an earlier run has done; they do not count as speed."""
        with self._lock:
            self._reset(step, total, unit, before)
            if self._bar is not None:
                if self._task is not None:
                    self._bar.remove_task(self._task)
                self._task = self._bar.add_task(step, total=total, completed=before, figures="")
            elif self.show:
                self._write(f"{step} ...")

    def advance(self, done: int = 0, bytes_in: int = 0, bytes_out: int = 0) -> None:
        """Adds things done, and bytes read and written."""
        with self._lock:
            self.done += done
            self.bytes_in += bytes_in
            self.bytes_out += bytes_out
            if self._bar is not None and self._task is not None:
                self._bar.update(self._task, completed=self.done, figures=self._figures())

    def note(self, text: str) -> None:
        """Writes one line, above the bar."""
        if not self.show:
            return
        with self._lock:
            if self._bar is not None:
                self._bar.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)
            else:
                self._write(printable(text))

    def status(self) -> str:
        """One line of counts, speed, bytes in and out, and the time left."""
        count = f"{self.done:,} of {self.total:,}" if self.total is not None else f"{self.done:,}"
        figures = self._figures()
        left = self._seconds_left()
        line = f"{count} {self.unit}".strip() + (f", {figures}" if figures else "")
        return line + (f", {clock(left)} left" if left is not None else "")

    def _figures(self) -> str:
        seconds = time.monotonic() - self.began
        parts = []
        if self.unit and self.done > self.before and seconds > 0.5:
            speed = (self.done - self.before) / seconds
            parts.append(f"{speed:.0f} {self.unit}/s" if speed >= 10 else f"{speed:.1f} {self.unit}/s")
        if self.bytes_in:
            parts.append(f"{megabytes(self.bytes_in)} in")
        if self.bytes_out:
            parts.append(f"{megabytes(self.bytes_out)} out")
        return ", ".join(parts)

    def _seconds_left(self) -> float | None:
        seconds = time.monotonic() - self.began
        made = self.done - self.before
        if self.total is None or made <= 0 or seconds < 0.5:
            return None
        return seconds / made * (self.total - self.done)

    def _tick(self) -> None:
        while not self._stop.wait(0.25):
            with self._lock:
                now = time.monotonic()
                gap = EARLY_LINE_SECONDS if now - self.began < EARLY_SECONDS else LATER_LINE_SECONDS
                if self.step and now - self._last_line >= gap:
                    waited = f"{clock(now - self.began)} so far"
                    self._write(f"{self.step}: {self.status() if self.done else waited}")

    def _write(self, line: str) -> None:
        encoding = self.stream.encoding or "utf-8"
        try:
            print(line.encode(encoding, "backslashreplace").decode(encoding), file=self.stream, flush=True)
        except (OSError, ValueError):
            # A closed pipe (`latentstore convert ... 2>&1 | head`) must not end a conversion.
            self.show = False
        self._last_line = time.monotonic()


def _terminal_bar(stream: TextIO) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        TimeRemainingColumn(),
        console=Console(file=stream),
        refresh_per_second=4,
        transient=True,
    )
