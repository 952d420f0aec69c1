"""What is trained jointly: the rows of the projection, and the network that refines what they synthesise."""

from __future__ import annotations

from torch import nn

from latentstore.codecs.artifact.decoder import NetworkShape
from latentstore.codecs.image.codec import ImageCodec
from latentstore.train.joint.projection import Rows
from latentstore.train.network import Refinement

__all__ = ["JointNetwork"]


class JointNetwork(nn.Module):
    """rows: see `Rows`; they begin as those of the codec. refinement: see `Refinement`."""

    def __init__(self, codec: ImageCodec, shape: NetworkShape) -> None:
        super().__init__()
        self.rows, self.refinement = Rows(codec), Refinement(shape)
