"""Whether the shipped projection of gray images is the one that the training images give.

    python -m benchmarks.images.shipped_projection

It is the first, cheap half of the fit that made `gray-f8c16`. The training images are too large for the repository,
so this is a check beside the tests and not one of them. Run it after a change of the fit of images; it exits with 1
if a figure is too large.
"""

from __future__ import annotations

from benchmarks.support import common  # isort: skip  (before numpy)

import numpy as np

CODEC = "gray-f8c16"


def main() -> None:
    from latentstore.codecs import load_codec
    from latentstore.codecs.fit.projection import fit_projection
    from latentstore.codecs.image.projection import image_planes
    from latentstore.sources.images import read_image

    common.header(f"The shipped projection of {CODEC} is that of the training images")
    codec = load_codec(CODEC)
    files = sorted(common.data("images", "train").iterdir())
    found = fit_projection(
        (image_planes(read_image(file, "L"), codec.levels) for file in files),
        1,
        codec.levels,
        codec.channels,
        codec.group_channels,
    )
    shipped, bound = codec.artifact.tensors, codec.artifact.facts["bound"]
    bars = common.Bars()
    bars.at_most("channels of another symmetry", float(np.count_nonzero(found.classes != codec.classes)), 0)
    for name, rows in (("analysis", found.rows), ("synthesis", found.columns)):
        bars.at_most(f"largest difference of a weight, {name}", _largest(np.concatenate(rows), shipped[name]), 1e-4)
    bars.at_most("largest relative difference of a bound", _largest(np.divide(found.bound, bound), 1), 1e-4)
    bars.end()


def _largest(values: np.ndarray, expected: np.ndarray | float) -> float:
    return float(np.abs(values - expected).max())


if __name__ == "__main__":
    main()
