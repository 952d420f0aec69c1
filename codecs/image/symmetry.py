"""The eight symmetries of the square, on bands and on latents.

A band of the packet transform has a vertical and a horizontal path, one bit a level (1: high), and is even or
odd in a direction as its path has an even or odd number of ones. A flip of the image flips the band and
negates it if it is odd in that direction; transposition of the image transposes the band and swaps its two
paths. Sums and differences of bands with swapped paths therefore fall into six classes, and a channel that
draws on one class only is mapped by every symmetry to plus or minus itself, or, for the classes EO and OE, to
its partner:

=======  =========================  ======  ======  =============
class    vertical, horizontal path  flip_v  flip_h  transposition
=======  =========================  ======  ======  =============
EE_SYM   even, even; sum             +       +       +
EE_ANTI  even, even; difference      +       +       -
OO_SYM   odd, odd; sum               -       -       +
OO_ANTI  odd, odd; difference        -       -       -
EO       even, odd                   +       -      OE
OE       odd, even                   -       +      EO
=======  =========================  ======  ======  =============

Channels of EO and OE come in pairs, EO first, OE next to it, with the same weights: entry n of class OE is
the transposed of entry n of class EO.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from itertools import product
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from latentstore.codecs.errors import ArgumentError

__all__ = [
    "SYMMETRIES",
    "Basis",
    "SignedPermutation",
    "SymmetryClass",
    "check_classes",
    "plane_index",
    "signed_permutation",
    "signed_planes",
    "symmetric_basis",
    "transform_image",
    "transform_latent",
    "transform_planes",
]

SYMMETRIES = ("identity", "flip_h", "flip_v", "rot90", "rot180", "rot270", "transpose", "anti_transpose")
"""Flips left-right and top-bottom, quarter turns counter-clockwise as numpy.rot90 has them, both
diagonals."""

Array = TypeVar("Array", bound=np.generic)


class SymmetryClass(IntEnum):
    """What a channel becomes when the image is turned; the numbers stand in artifacts."""

    EE_SYM = 0
    EE_ANTI = 1
    OO_SYM = 2
    OO_ANTI = 3
    EO = 4
    OE = 5


# How an operation is made: transposition first, then flips of the vertical and of the horizontal axis.
_STEPS = {
    "identity": (False, False, False),
    "flip_h": (False, False, True),
    "flip_v": (False, True, False),
    "rot90": (True, True, False),
    "rot180": (False, True, True),
    "rot270": (True, False, True),
    "transpose": (True, False, False),
    "anti_transpose": (True, True, True),
}
_ODD_VERTICAL = np.array([0, 0, 1, 1, 0, 1], bool)
_ODD_HORIZONTAL = np.array([0, 0, 1, 1, 1, 0], bool)
_ANTISYMMETRIC = np.array([0, 1, 0, 1, 0, 0], bool)


@dataclass(frozen=True)
class Basis:
    """Combinations of planes that the symmetries map to plus or minus each other, in the kernel's terms.

    entries: int32 (n, 3): plane a, plane b or -1, sign; entry = x[a] or x[a] + sign * x[b].
        There are as many entries as planes, 4**levels * colours.
    assembly: int32 (planes, 3): plane = entry p, plus sign * entry q unless q is -1. From the entries of the
        analysis this gives twice a plane that is in a sum and a difference: the synthesis weights hold the
        half.
    runs: (start, count) of each class's entries, by SymmetryClass.
    """

    colours: int
    levels: int
    entries: npt.NDArray[np.int32]
    assembly: npt.NDArray[np.int32]
    runs: tuple[tuple[int, int], ...]

    def classes(self) -> npt.NDArray[np.int8]:
        """The class of every entry, int8 (n,)."""
        return np.repeat(np.arange(len(self.runs), dtype=np.int8), [count for _, count in self.runs])


@dataclass(frozen=True)
class SignedPermutation:
    """What a symmetry does to a latent (..., c, h, w): no more than moving its values, and negating some.

    transpose, flip_v, flip_h: what becomes of each plane, in this order. source: intp (c,): channel k of the result is
        made of channel source[k]. negative: bool (c,): the channels of the result that are negated.
    """

    transpose: bool
    flip_v: bool
    flip_h: bool
    source: npt.NDArray[np.intp]
    negative: npt.NDArray[np.bool_]


def plane_index(vertical: int, horizontal: int, colour: int, colours: int, levels: int) -> int:
    """The plane of a band given by its two paths (bits, the first split the highest) in one colour."""
    band = 0
    for bit in reversed(range(levels)):
        band = band * 4 + 2 * (vertical >> bit & 1) + (horizontal >> bit & 1)
    return band * colours + colour


def symmetric_basis(colours: int, levels: int) -> Basis:
    """The basis of all classes, one after another in the order of SymmetryClass. levels: of the packet transform."""
    if colours < 1:
        raise ArgumentError(f"An image has at least one colour, not {colours}.")
    even = [path for path in range(2**levels) if path.bit_count() % 2 == 0]
    odd = [path for path in range(2**levels) if path.bit_count() % 2 == 1]
    classes: list[list[tuple[int, int, int]]] = []
    for paths in (even, odd):
        pairs = [(i, j) for i in paths for j in paths if i <= j]
        classes.append(_combined(pairs, 1, colours, levels))
        classes.append(_combined([(i, j) for i, j in pairs if i < j], -1, colours, levels))
    mixed = [(i, j) for i in even for j in odd]
    classes.append([(plane_index(i, j, k, colours, levels), -1, 0) for i, j in mixed for k in range(colours)])
    classes.append([(plane_index(j, i, k, colours, levels), -1, 0) for i, j in mixed for k in range(colours)])

    counts = [len(entries) for entries in classes]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    entries = np.array([entry for of_class in classes for entry in of_class], np.int32)
    return Basis(colours, levels, entries, _assembly(entries), tuple(zip(starts.tolist(), counts, strict=True)))


def _combined(pairs: list[tuple[int, int]], sign: int, colours: int, levels: int) -> list[tuple[int, int, int]]:
    entries = []
    for i, j in pairs:
        for k in range(colours):
            a, b = plane_index(i, j, k, colours, levels), plane_index(j, i, k, colours, levels)
            entries.append((a, -1, 0) if i == j else (a, b, sign))
    return entries


def _assembly(entries: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Plane a of a pair is sum + difference, plane b is sum - difference."""
    assembly = np.full((len(entries), 3), (-1, -1, 0), np.int32)
    for entry, (a, b, sign) in enumerate(entries.tolist()):
        if sign >= 0:
            assembly[a, 0] = entry
        if sign > 0:
            assembly[b, 0] = entry
        if sign < 0:
            assembly[a, 1:] = entry, 1
            assembly[b, 1:] = entry, -1
    return assembly


def check_classes(classes: npt.ArrayLike) -> npt.NDArray[np.int8]:
    """Channel classes as int8 (c,).

    Raises ArgumentError unless every EO is followed by its OE and the other way round.
    """
    given = np.asarray(classes)
    if given.ndim != 1 or not np.isin(given, np.arange(len(SymmetryClass))).all():
        raise ArgumentError("Channel classes must be a list of numbers from 0 to 5.")
    (first,) = np.nonzero(given == SymmetryClass.EO)
    (second,) = np.nonzero(given == SymmetryClass.OE)
    if not np.array_equal(first + 1, second):
        raise ArgumentError("Channels of class EO and OE must stand in pairs, EO first: these do not.")
    return given.astype(np.int8)


def transform_latent(latent: npt.NDArray[Array], symmetry: str, classes: npt.ArrayLike) -> npt.NDArray[Array]:
    """The latent of the flipped or turned image, from the latent of the image.

    latent: (..., c, h, w), int8 or float. The result is exact if the sides of the image are multiples of the
        codec's reduction.
    symmetry: one of SYMMETRIES.
    classes: the class of each of the c channels. They may be those of a prefix, but a prefix must not end inside
        a pair if the symmetry swaps pairs.

    Returns a new array, (..., c, w, h) where the symmetry transposes. Raises ArgumentError if int8 values are
    -128, which no quantiser here gives and which cannot be negated.
    """
    given = np.asarray(classes)
    if latent.ndim < 3 or given.shape != (latent.shape[-3],):
        raise ArgumentError(
            f"A latent of shape {latent.shape} needs one class for each channel (axis -3), not {given.shape}."
        )
    moved = signed_permutation(symmetry, given)
    if latent.dtype == np.int8 and latent.size and latent.min() == -128:
        raise ArgumentError("A latent holds -128, which no quantiser here gives and which cannot be negated.")
    return _moved(latent, moved)


def signed_permutation(symmetry: str, classes: npt.ArrayLike) -> SignedPermutation:
    """What a symmetry does to latents whose channels have these classes.

    symmetry, classes: as in `transform_latent`. ArgumentError if there is no such symmetry, or if classes end inside a
    pair that it exchanges.
    """
    transpose, flip_v, flip_h = _steps(symmetry)
    given = np.asarray(classes)
    if not transpose and len(given) and given[-1] == SymmetryClass.EO:
        check_classes(np.append(given, SymmetryClass.OE))  # ends inside a pair, which stays as it is
    else:
        check_classes(given)
    negative = np.zeros(len(given), bool)
    for happens, odd in ((transpose, _ANTISYMMETRIC), (flip_v, _ODD_VERTICAL), (flip_h, _ODD_HORIZONTAL)):
        if happens:
            negative ^= odd[given]
    source = _partners(given) if transpose else np.arange(len(given))
    return SignedPermutation(transpose, flip_v, flip_h, source, negative)


def transform_planes(planes: npt.NDArray[Array], symmetry: str, levels: int) -> npt.NDArray[Array]:
    """The bands of the flipped or turned image, from those of the image: (4**levels * colours, h, w), a new array.

    Exact if the sides of the image are multiples of 2**levels. Integers must not hold the least value of their type.
    """
    return _moved(planes, signed_planes(symmetry, len(planes) // 4**levels, levels))


def signed_planes(symmetry: str, colours: int, levels: int) -> SignedPermutation:
    """What a symmetry does to the bands of an image of so many colours, split so many times."""
    transpose, flip_v, flip_h = _steps(symmetry)
    swapped, odd_vertical, odd_horizontal = _plane_symmetry(colours, levels)
    negative = (odd_vertical & flip_v) ^ (odd_horizontal & flip_h)
    return SignedPermutation(transpose, flip_v, flip_h, swapped if transpose else np.arange(len(swapped)), negative)


def _moved(planes: npt.NDArray[Array], moved: SignedPermutation) -> npt.NDArray[Array]:
    """Planes (..., c, h, w) after a symmetry, a new array."""
    if moved.transpose:
        planes = np.swapaxes(planes, -1, -2)[..., moved.source, :, :]
    if moved.flip_v:
        planes = planes[..., ::-1, :]
    if moved.flip_h:
        planes = planes[..., ::-1]
    result = np.array(planes, order="C")
    result[..., moved.negative, :, :] *= -1
    return result


@lru_cache(maxsize=4)
def _plane_symmetry(
    colours: int, levels: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """For every plane: the one with swapped paths; whether it is odd vertically; whether horizontally."""
    swapped = np.empty(4**levels * colours, np.intp)
    odd = np.zeros((2, 4**levels * colours), bool)
    for vertical, horizontal, colour in product(range(2**levels), range(2**levels), range(colours)):
        plane = plane_index(vertical, horizontal, colour, colours, levels)
        swapped[plane] = plane_index(horizontal, vertical, colour, colours, levels)
        odd[:, plane] = vertical.bit_count() % 2, horizontal.bit_count() % 2
    return swapped, odd[0], odd[1]


def transform_image(pixels: npt.NDArray[Array], symmetry: str) -> npt.NDArray[Array]:
    """The flipped or turned image (a view): pixels (..., H, W, C)."""
    transpose, flip_v, flip_h = _steps(symmetry)
    if transpose:
        pixels = np.swapaxes(pixels, -2, -3)
    if flip_v:
        pixels = pixels[..., ::-1, :, :]
    return pixels[..., ::-1, :] if flip_h else pixels


def _steps(symmetry: str) -> tuple[bool, bool, bool]:
    if symmetry not in _STEPS:
        raise ArgumentError(f"There is no symmetry {symmetry!r}; there are {', '.join(SYMMETRIES)}.")
    return _STEPS[symmetry]


def _partners(classes: npt.NDArray[np.integer]) -> npt.NDArray[np.intp]:
    """For every channel the one that transposition puts in its place."""
    partner = np.arange(len(classes))
    partner[classes == SymmetryClass.EO] += 1
    partner[classes == SymmetryClass.OE] -= 1
    return partner
