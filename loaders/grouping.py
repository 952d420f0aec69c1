"""How a loader groups samples into batches: what its arguments mean for a store."""

from __future__ import annotations

import numpy as np

from latentstore.codecs.arguments import require_number
from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.dataset import LatentDataset
from latentstore.loaders.epoch.groups import Groups
from latentstore.loaders.mixture import Mixture
from latentstore.loaders.tensors.dataset import TensorDataset
from latentstore.loaders.tensors.source import groups_of as tensor_groups
from latentstore.loaders.tensors.source import has_one_shape

SHAPE, LENGTH = "shape", "length"


def grouped_by(
    ds: LatentDataset | TensorDataset | Mixture, group_by: str | None, max_positions: int | None
) -> str | None:
    """What samples of a batch have in common: "shape", a similar "length", or None: nothing.

    ArgumentError if the data set cannot be grouped so.
    """
    if group_by not in (None, SHAPE):
        raise ArgumentError(f"group_by is {group_by!r}, expected 'shape' or None")
    if group_by is None and max_positions is None:
        return None
    if isinstance(ds, Mixture):
        name = "max_positions" if group_by is None else "group_by"
        raise ArgumentError(f"{name} is not for a mixture: its batches have a fixed number of samples of each store")
    if isinstance(ds, TensorDataset):
        return None if has_one_shape(ds) else SHAPE
    if ds.size is not None:
        return None
    if ds.modality.pads and group_by is not None:
        raise ArgumentError(
            f"group_by='shape' is not for {ds.modality.nouns.many}: shuffled batches of {ds.url} are made of similar "
            "lengths already, and padded"
        )
    return LENGTH if ds.modality.pads else SHAPE


def batch_limits(
    ds: LatentDataset | TensorDataset | Mixture, batch_size: int | None, max_positions: int | None
) -> tuple[int | None, int | None]:
    """(batch_size, max_positions) of a loader, one of them None. In a store of one size, positions are a batch size.

    ArgumentError unless one of them is given, and a batch can have a sample.
    """
    if (batch_size is None) == (max_positions is None):
        given = "neither is" if batch_size is None else "both are"
        raise ArgumentError(f"give batch_size or max_positions, one of them; {given} given")
    if batch_size is not None:
        return require_number(batch_size, "batch_size", 1), None
    most = require_number(max_positions, "max_positions", 1)
    if isinstance(ds, LatentDataset) and ds.latent_shape is not None:
        each = ds.latent_shape[1] * ds.latent_shape[2]
        if each > most:
            raise ArgumentError(f"max_positions is {most}, and every sample of {ds.url} has {each} latent positions")
        return most // each, None
    if isinstance(ds, TensorDataset) and has_one_shape(ds):
        return int(tensor_groups(ds, None, most).batch_sizes[0]), None
    return None, most


def groups_of(
    ds: LatentDataset | TensorDataset, batch_size: int | None, max_positions: int | None, exact: bool
) -> Groups:
    """The groups of all samples. exact: images of one group have one size in pixels, not only one latent shape.

    ArgumentError if a sample alone has more than `max_positions` latent positions.
    """
    if isinstance(ds, TensorDataset):
        return tensor_groups(ds, batch_size, max_positions)
    sizes, which = np.unique(ds.sizes(), axis=0, return_inverse=True)
    shapes = np.array([ds.codec.latent_shape(*size)[1:] for size in sizes.tolist()], np.int64).reshape(-1, 2)
    positions = shapes[:, 0] * shapes[:, 1]
    if max_positions is not None and len(positions) and positions.max() > max_positions:
        index = int(np.flatnonzero(which == positions.argmax())[0])
        raise ArgumentError(
            f"max_positions is {max_positions}, and {ds.where(index)} alone has {positions.max()} latent positions"
        )
    if ds.modality.pads:
        assert max_positions is not None
        return Groups.by_length(positions[which], max_positions)
    return Groups.by_shape(sizes[which] if exact else shapes[which], positions[which], batch_size, max_positions)
