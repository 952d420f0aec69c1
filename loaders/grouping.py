"""How a loader groups samples into batches: what its arguments mean for a store, or for a mixture of stores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latentstore.codecs.arguments import require_number
from latentstore.codecs.errors import ArgumentError
from latentstore.loaders.dataset import LatentDataset
from latentstore.loaders.epoch.groups import LENGTH, SHAPE, SIMILAR, Groups, Pooled, length_steps
from latentstore.loaders.epoch.order import SampleOrder
from latentstore.loaders.epoch.pools import MixedPools, StorePools, pool_share
from latentstore.loaders.epoch.schedule import MixedOrder
from latentstore.loaders.mixture import Mixture
from latentstore.loaders.tensors.dataset import TensorDataset
from latentstore.loaders.tensors.source import has_one_shape, shapes_of

Store = LatentDataset | TensorDataset


def grouped_by(ds: Store | Mixture, group_by: str | None, max_positions: int | None) -> str | None:
    """What samples of a batch have in common: "shape", a similar "length", "similar" sizes, or None: nothing.

    Of stores that are grouped in several ways, it is the one of them that pads.

    ArgumentError if the data set cannot be grouped so.
    """
    if group_by not in (None, SHAPE, SIMILAR):
        raise ArgumentError(f"group_by is {group_by!r}, expected 'shape', 'similar' or None")
    if group_by is None and max_positions is None:
        return None
    stores = ds.stores if isinstance(ds, Mixture) else [ds]
    found = [_grouped_by(store, group_by) for store in stores]
    if isinstance(ds, Mixture) and (ds.separate or isinstance(ds.stores[0], TensorDataset)):
        found.append(SHAPE)  # that of one store is not that of another
    return next((kind for kind in (SIMILAR, LENGTH, SHAPE) if kind in found), None)


def _leading(ds: Store) -> Store:
    """What decides how samples are grouped: the latents that are padded, if there are some."""
    padded = ds.padded if isinstance(ds, TensorDataset) else None
    return ds if padded is None else padded


def _grouped_by(ds: Store, group_by: str | None) -> str | None:
    ds = _leading(ds)
    if isinstance(ds, TensorDataset):
        if group_by == SIMILAR:
            raise ArgumentError(
                f"group_by='similar' is for stores of images alone: tensors, as of {ds.url}, are not padded"
            )
        return None if has_one_shape(ds) else SHAPE
    if ds.size is not None:
        return None
    if ds.modality.pads and group_by is not None:
        raise ArgumentError(
            f"group_by={group_by!r} is not for {ds.modality.nouns.many}: shuffled batches of {ds.url} are made of "
            "similar lengths already, and padded"
        )
    return LENGTH if ds.modality.pads else group_by or SHAPE


def batch_limits(
    ds: Store | Mixture, batch_size: int | None, max_positions: int | None
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
    if isinstance(ds, Mixture):
        alike = not ds.separate and isinstance(ds.stores[0], LatentDataset)
        return batch_limits(ds.stores[0], None, most) if alike else (None, most)
    if isinstance(ds, LatentDataset) and ds.latent_shape is not None:
        each = ds.latent_shape[1] * ds.latent_shape[2]
        if each > most:
            raise ArgumentError(f"max_positions is {most}, and every sample of {ds.url} has {each} latent positions")
        return most // each, None
    if isinstance(ds, TensorDataset) and len(ds) and has_one_shape(ds):
        return most // int(shapes_of(ds, most)[1][0]), None
    return None, most


def pooled(
    ds: Store | Mixture, order: SampleOrder | MixedOrder, grouped: str, batch_size: int | None,
    max_positions: int | None, exact: bool,
) -> Pooled:  # fmt: skip
    """The groups of all samples, which are looked at once. exact: images of one shape have one size in pixels, not only
    one latent shape.

    ArgumentError if a sample alone has more than `max_positions` latent positions.
    """
    if isinstance(order, MixedOrder):
        assert isinstance(ds, Mixture)
        parts = [_shapes(store, grouped, max_positions, exact) for store in ds.stores]
        shapes = _together([rows for rows, _ in parts], ds.separate)
        positions = np.concatenate([some for _, some in parts])
    else:
        assert not isinstance(ds, Mixture)
        shapes, positions = _shapes(ds, grouped, max_positions, exact)
    if grouped == SIMILAR:
        groups = Groups.by_similarity(shapes, batch_size, max_positions, pool_share(order))
    else:
        groups = Groups.by_shape(shapes, positions, batch_size, max_positions)
    return MixedPools(groups, order) if isinstance(order, MixedOrder) else StorePools(groups, order)


def _together(rows: Sequence[np.ndarray], separate: bool) -> np.ndarray:
    """int64 (n, k): the shapes of the samples of several stores. separate: those of two stores are never equal."""
    width = max(own.shape[1] for own in rows)
    filled = [np.pad(own, ((0, 0), (width - own.shape[1], 0)), constant_values=-1) for own in rows]
    store = np.repeat(np.arange(len(rows)) * separate, [len(own) for own in rows])
    return np.concatenate([store[:, None], np.concatenate(filled)], axis=1)


def _shapes(ds: Store, grouped: str, max_positions: int | None, exact: bool) -> tuple[np.ndarray, np.ndarray]:
    """(what samples of a group have in common, int64 (n, k), their latent positions, int64 (n,))."""
    ds = _leading(ds)
    if isinstance(ds, TensorDataset):
        return shapes_of(ds, max_positions, exact)
    sizes, which = np.unique(ds.sizes(), axis=0, return_inverse=True)
    which = which.reshape(-1)
    shapes = np.array([ds.codec.latent_shape(*size)[1:] for size in sizes.tolist()], np.int64).reshape(-1, 2)
    positions = shapes[:, 0] * shapes[:, 1]
    if max_positions is not None and len(positions) and positions.max() > max_positions:
        index = int(np.flatnonzero(which == positions.argmax())[0])
        raise ArgumentError(
            f"max_positions is {max_positions}, and {ds.where(index)} alone has {positions.max()} latent positions"
        )
    if ds.modality.pads and ds.size is None:
        return length_steps(positions)[which], positions[which]
    return (sizes if exact and grouped != SIMILAR else shapes)[which], positions[which]
