"""A small coverage-guided fuzzer for what is Python: inputs that reach new lines of the package are mutated further.

A finding is any exception but LatentstoreError, MemoryError among them: `bounded` limits the memory of the process.
"""

from __future__ import annotations

import random
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Literal

from latentstore.codecs.errors import LatentstoreError

MORE_BYTES = 512 << 20
MOST_INPUT = 8192
NUMBERS = [0, 1, -1, 127, 128, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
WORDS = [
    *(str(number).encode() for number in [*NUMBERS, 10**400, "1e999", "NaN", "1.5"]),
    *(b"null", b"true", b"[]", b"{}", b'""', b'"x"', b'"\\ud800"', b'".."', b'"a/b"', b'"\\u0000"', b"[" * 3000),
]

Target = Callable[[bytes], object]
Line = tuple[CodeType, int]


class FindingError(Exception):
    """What a target should not have raised; `data` is the input."""

    def __init__(self, data: bytes, error: BaseException) -> None:
        super().__init__(f"{type(error).__name__}: {str(error)[:300]}")
        self.data = data


def lines_of(target: Target, data: bytes, folders: tuple[str, ...]) -> set[Line]:
    """The lines below `folders` that a target runs for an input. FindingError if it raises what it should not."""
    seen: set[Line] = set()

    def local(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            seen.add((frame.f_code, frame.f_lineno))
        return local

    def entered(frame: FrameType, _: str, __: Any) -> Any:
        return local if frame.f_code.co_filename.startswith(folders) else None

    before = sys.gettrace()
    sys.settrace(entered)
    try:
        target(data)
    except LatentstoreError as error:
        sys.settrace(before)
        if not str(error) or len(str(error)) > 1000:
            raise FindingError(data, ValueError(f"a message of {len(str(error))} characters")) from error
    except Exception as error:
        raise FindingError(data, error) from error
    finally:
        sys.settrace(before)
    return seen


def package_folders() -> tuple[str, ...]:
    """Where the package's modules are."""
    import latentstore.codecs
    import latentstore.loaders

    return tuple(
        str(path) for package in (latentstore, latentstore.codecs, latentstore.loaders) for path in package.__path__
    )


@contextmanager
def bounded() -> Iterator[None]:
    """Lets the process take no more than `MORE_BYTES` beyond what it has now, where the system can."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MORE_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def mutated(data: bytes, corpus: Sequence[bytes], rng: random.Random) -> bytes:
    """The input after one to four changes."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, size = rng.randrange(len(out) + 1), rng.choice((1, 1, 2, 4, 8, rng.randrange(1, 64)))
        match rng.randrange(9):
            case 0 | 1:
                if at < len(out):
                    out[at] ^= 1 << rng.randrange(8)
            case 2:
                out[at : at + 1] = bytes([rng.randrange(256)])
            case 3:
                del out[at : at + size]
            case 4:
                out[at:at] = out[at : at + size]
            case 5:
                wide = rng.choice((1, 2, 4, 8))
                out[at : at + wide] = (rng.choice(NUMBERS) % (1 << 8 * wide)).to_bytes(
                    wide, rng.choice(("little", "big"))
                )
            case 6:
                out[at : at + rng.choice((0, size))] = rng.choice(WORDS)
            case 7:
                end = at
                while end < len(out) and chr(out[end]) in "0123456789.-":
                    end += 1
                out[at:end] = rng.choice(WORDS)
            case _:
                other = rng.choice(corpus)
                start = rng.randrange(len(other) + 1)
                out[at : at + rng.choice((0, size))] = other[start : start + size]
    return bytes(out[:MOST_INPUT])


def fuzz(target: Target, seeds: Sequence[bytes], runs: int, seed: int = 0) -> list[bytes]:
    """Calls the target with every one of `seeds`, then with `runs` mutations; the inputs that reached new lines.

    FindingError names the first input for which it raises what it should not.
    """
    rng, folders = random.Random(seed), package_folders()
    corpus: list[bytes] = []
    seen: set[Line] = set()
    with bounded():
        for number in range(len(seeds) + runs):
            data = seeds[number] if number < len(seeds) else mutated(rng.choice(corpus), corpus, rng)
            lines = lines_of(target, data, folders)
            if not lines <= seen:
                seen |= lines
                corpus.append(data)
    return corpus
