"""What the tests of all trainings share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

STOPPED_AT = 3


@pytest.fixture
def stop_early() -> Callable[[type, Callable[[], object]], None]:
    """stop_early(training, run): calls `run`, and interrupts the training of this class as Ctrl-C does, at step 3."""

    def stop(training: type, run: Callable[[], object]) -> None:
        advance: Any = training.advance  # type: ignore[attr-defined]

        def stopped(self: Any, done: float) -> None:
            if self.step == STOPPED_AT:
                raise KeyboardInterrupt
            advance(self, done)

        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(training, "advance", stopped)
            run()

    return stop
