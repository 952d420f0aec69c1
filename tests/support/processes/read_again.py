"""Whether batches hold what the data set does, also in a process that begins afresh and imports what it runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from latentstore.loaders import LatentDataset


def rows(batches: Any, name: str = "latent") -> dict[str, Any]:
    return {key: row for batch in batches for key, row in zip(batch["key"], batch[name], strict=True)}


def same(ds: LatentDataset, batches: Any) -> bool:
    found = rows(batches)
    return sorted(found) == sorted(ds.keys()) and all(
        np.array_equal(found[sample["key"]], sample["latent"]) for sample in map(ds.__getitem__, range(len(ds)))
    )


def read_in_a_child(ds: LatentDataset, results: Any) -> None:
    from latentstore.loaders import LatentLoader  # it needs torch

    results.put(same(ds, LatentLoader(ds, 3, shuffle=True, num_workers=2)))
