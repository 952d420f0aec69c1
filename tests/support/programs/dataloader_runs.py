"""Reads two epochs through a DataLoader whose processes begin afresh; prints as JSON what it has read, a line each.

python dataloader_runs.py spawn|forkserver ...
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from memory_store import Memory, keys

from latentstore.loaders import LatentLoader, as_dataloader


def main(method: str) -> None:
    loader = LatentLoader(Memory(9, 14, 7), 4, True, seed=3, num_workers=1)
    given = as_dataloader(loader, 2, multiprocessing_context=method, persistent_workers=True)
    passes: list[list[dict[str, Any]]] = [list(given) for _ in range(2)]
    alone = LatentLoader(Memory(9, 14, 7), 4, True, seed=3)
    pairs = zip((batch for _ in range(2) for batch in alone), (b for one in passes for b in one), strict=True)
    same = all(torch.equal(one["latent"], other["latent"]) for one, other in pairs)
    print(json.dumps({"passes": [keys(one) for one in passes], "same": same}))


if __name__ == "__main__":
    for method in sys.argv[1:]:
        main(method)
