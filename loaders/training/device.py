"""Batches on their way to a device: pinned memory, and copies on a stream of their own."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

import torch

from latentstore.codecs.errors import ArgumentError

Work = TypeVar("Work")
Made = Generator[tuple[Work, Any], None, None]


class Delivery:
    """Where batches are to go. It can be pickled.

    pin_memory: whether tensors are put into page-locked memory, which a GPU reads faster. device: where to, or None;
    "cuda" pins memory too. ArgumentError if this machine has no such device.

    pins: whether memory is pinned.
    """

    def __init__(self, pin_memory: bool, device: str | torch.device | None) -> None:
        try:
            self.device = None if device is None else torch.device(device)
        except (RuntimeError, TypeError) as error:
            raise ArgumentError(f"device is {device!r}, which torch does not know: {error}") from error
        cuda = self.device is not None and self.device.type == "cuda"
        if (pin_memory or cuda) and not torch.cuda.is_available():
            asked = f"device is {str(device)!r}" if cuda else "pin_memory is True"
            raise ArgumentError(f"{asked}, and torch finds no CUDA device on this machine.")
        self.pins = pin_memory or cuda

    def pinned(self, batch: Any) -> Any:
        """The batch in page-locked memory, if that is wanted."""
        return mapped(torch.Tensor.pin_memory, batch) if self.pins else batch

    def deliver(self, batches: Made[Work]) -> Made[Work]:
        """The batches on the device, in the same order."""
        if self.device is None:
            return batches
        if self.device.type == "cuda":
            return self._on_side_stream(batches, self.device)
        return self._one_by_one(batches, self.device)

    def _one_by_one(self, batches: Made[Work], device: torch.device) -> Made[Work]:
        try:
            for work, batch in batches:
                yield work, mapped(lambda tensor: tensor.to(device), batch)
        finally:
            batches.close()

    def _on_side_stream(self, batches: Made[Work], device: torch.device) -> Made[Work]:
        """Each batch is copied while the one before it is used.

        The consumer's stream waits for the copy, not the CPU. The allocator is told that this stream uses the memory,
        which belongs to the stream of the copies.
        """
        side = torch.cuda.Stream(device)

        def begun() -> tuple[Work, Any, torch.cuda.Event] | None:
            found = next(batches, None)
            if found is None:
                return None
            with torch.cuda.stream(side):
                copied = mapped(lambda tensor: tensor.to(device, non_blocking=True), found[1])
                return found[0], copied, side.record_event()

        try:
            waiting = begun()
            while waiting is not None:
                (work, batch, done), waiting = waiting, begun()
                stream = torch.cuda.current_stream(device)
                stream.wait_event(done)
                mapped(lambda tensor: _used_on(tensor, stream), batch)  # noqa: B023
                yield work, batch
        finally:
            batches.close()


def mapped(change: Callable[[torch.Tensor], Any], batch: Any) -> Any:
    """The batch with every tensor changed, in dicts, lists and tuples however deep; all else stays as it is."""
    if isinstance(batch, torch.Tensor):
        return change(batch)
    if isinstance(batch, dict):
        return {name: mapped(change, value) for name, value in batch.items()}
    if isinstance(batch, list | tuple) and any(
        isinstance(value, torch.Tensor | dict | list | tuple) for value in batch
    ):
        return type(batch)([mapped(change, value) for value in batch])
    return batch


def _used_on(tensor: torch.Tensor, stream: torch.cuda.Stream) -> torch.Tensor:
    tensor.record_stream(stream)
    return tensor
