"""`latentstore sync` of a folder that kills itself (SIGKILL) just before it renames a file for the n-th time.

python sync_until_killed.py SOURCE STORE N
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from typing import Any

from latentstore.syncing.latents import sync_latents
from latentstore.writing import lock

lock.BEAT_SECONDS = 3600  # renewing the lock renames too, and is not counted


def main(source: str, store: str, nth: int) -> None:
    renames, replace = itertools.count(1), os.replace

    def dying(*args: Any, **kwargs: Any) -> None:
        if next(renames) == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*args, **kwargs)

    os.replace = dying  # type: ignore[assignment]
    sync_latents(source, store, size=32, delete=True, workers=1, progress=False)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
