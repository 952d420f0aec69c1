"""A program that writes a store of tensors as one rank of several: what a job does, killed and started again.

python write_ranks.py TARGET RANK RANKS SAMPLES GATE

It prints the key of each sample that it has written, and waits for the file GATE before its last one.
"""

import sys
import time
from pathlib import Path

import numpy as np

from latentstore import Encoder, Tensor, Writer

FIELDS = {"latent": Tensor("float16"), "tokens": Tensor("int16", "codes", vocabulary=1024), "label": int}


def sample(number: int) -> dict[str, object]:
    """The sample of a number: the same in every process."""
    rng = np.random.default_rng(number)
    latent = rng.normal(0, 1, (4, 8 + number % 2, 8)).astype(np.float16)
    return {"latent": latent, "tokens": rng.integers(0, 1024, (2, 5), np.int16), "label": number % 7}


def main() -> None:
    target, rank, ranks, samples, gate = sys.argv[1], *map(int, sys.argv[2:5]), Path(sys.argv[5])
    mine = {f"{n:05d}": n for n in range(rank, samples, ranks)}
    encoder = Encoder("noise", preprocessing={"seed": "number"})
    with Writer(target, FIELDS, encoder=encoder, resume=True, rank=rank, world_size=ranks, shard_bytes=2000) as writer:
        left = writer.missing(mine)
        for key in left:
            while key == left[-1] and not gate.exists():
                time.sleep(0.01)
            time.sleep(0.01)  # so that it is killed while there is much to do
            writer.write(key, sample(mine[key]))
            print(key, flush=True)


if __name__ == "__main__":
    main()
