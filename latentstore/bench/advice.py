"""What `latentstore bench` says: a table, and what would make reading faster."""

from __future__ import annotations

from collections.abc import Iterator

from latentstore.bench.measure import Bench
from latentstore.progress import printable

__all__ = ["advice", "table"]

NEAR = 0.8
"""A loader that reaches this share of the limit has nothing left to gain by settings of its own."""
MUCH = 0.4
"""A stage that takes this share of the work is worth a change."""
FEW_CHANNELS = 12


def table(found: Bench) -> str:
    """The figures, and the advice below them, as text."""
    rows = [
        ("store", printable(found.store)),
        (
            "read",
            f"{found.samples:,} samples, {found.channels} of {found.all_channels} channels, output {found.output}",
        ),
        ("how", f"batches of {found.batch_size}, shuffle={found.shuffle!r}, num_workers={found.workers}"),
        ("open", f"{found.open_seconds * 1e3:,.0f} ms"),
        ("first batch", f"{found.first_batch_seconds * 1e3:,.0f} ms"),
        ("samples/s", f"{found.samples_per_second:,.0f}, over {_few_digits(found.passes)} epochs"),
        ("MB/s", f"{found.stored_mb_per_second:,.1f} as stored, {found.latent_mb_per_second:,.1f} as int8 latents"),
        ("limit", f"{found.limit_samples_per_second:,.0f} samples/s: reading and entropy decoding alone, same threads"),
        ("of the limit", f"{found.of_limit:.0%}"),
        ("one thread", f"{found.one_thread_samples_per_second:,.0f} samples/s"),
        ("its work", f"fetch {found.fetch:.0%}, decode {found.decode:.0%}, collate {found.collate:.0%}"),
    ]
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join([*(f"{name:{width}}{value}" for name, value in rows), "", " ".join(advice(found))])


def _few_digits(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def advice(found: Bench) -> list[str]:
    """One or two sentences of what to change."""
    return list(_advice(found))[:2]


def _advice(found: Bench) -> Iterator[str]:
    if not found.local and found.shuffle is True:
        yield 'Use shuffle="block": it reads each shard in one request, where shuffle=True asks for every sample.'
    if found.workers < found.cores:
        yield f"Use more workers: num_workers={found.cores}, as many as this machine has cores."
    if found.fetch > MUCH and found.local:
        yield "Most time goes into reading files: use a faster disk, or read fewer channels."
    elif found.fetch > MUCH:
        yield "Most time goes into the network: read fewer channels, or copy the store nearer to this machine."
    if found.collate > MUCH and found.output != "codes":
        yield f'Much time goes into making output "{found.output}": use output="codes" if the model can take codes.'
    elif found.collate > MUCH:
        yield "Much time goes into fields and batches: use larger batches, or a store with fewer fields."
    if found.decode > MUCH and found.channels > FEW_CHANNELS:
        yield (
            f"Most time goes into entropy decoding, which grows with the channels: read fewer channels than "
            f"{found.channels}, if the model can do with them."
        )
    if found.of_limit >= NEAR:
        yield "The loader is near the limit of this machine."
    elif found.of_limit < NEAR * (found.fetch + found.decode):
        yield "Other programs may have used the cores or the disk: run it again, alone."
    else:
        yield "What lies between the loader and the limit is the work for fields and batches."
