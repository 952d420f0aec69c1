"""Which coder each tensor field of a store has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from latentstore.codecs.errors import ArgumentError, StoreError
from latentstore.codecs.tensors.coder import TensorCoder
from latentstore.codecs.tensors.declaration import Tensor
from latentstore.loaders.tensors import layout
from latentstore.loaders.tensors.read import read_coder
from latentstore.writing.tensors.pending import Chunk
from latentstore.writing.tensors.session import Session

__all__ = ["FIT_BYTES", "FIT_SAMPLES", "CoderChoice"]

# Coders are fitted to the first samples of rank 0: so many, or so many bytes of them.
FIT_SAMPLES = 512
FIT_BYTES = 48 << 20


class CoderChoice:
    """Chooses the coder of a field: that of the store, or the one given, or one that rank 0 fits.

    given: by field. fits: whether a coder is still to be fitted, or waited for.
    """

    def __init__(self, session: Session, tensors: Mapping[str, Tensor], given: Mapping[str, TensorCoder]) -> None:
        self._session, self._tensors, self._given = session, tensors, given
        self.fits = any(self._held(name) is None and name not in given for name in tensors)

    def _held(self, name: str) -> str | None:
        """The SHA-256 of the coder that a field of the store has already."""
        base = self._session.base
        return base.coders[name] if base is not None else self._session.coder_of(name)

    def coder(self, name: str, chunks: Sequence[Chunk]) -> TensorCoder:
        """The coder of a field. chunks: the first samples. StoreError if the store has another than the one given."""
        session = self._session
        sha256, given = self._held(name), self._given.get(name)
        if sha256 is None and given is None and session.rank:
            sha256 = session.wait_for_coder(name)
        if sha256 is None:
            coder = given or self._fitted(name, chunks)
            sha256 = session.choose_coder(name, coder.sha256, coder.to_bytes())
        where = session.target.at(layout.coder_name(sha256))
        if given is not None and given.sha256 != sha256:
            raise StoreError(
                f"{session.target.url}: the field {name!r} was begun with another coder than the one given; resume it "
                f"with that one ({where}), or start again by overwriting it",
                remedy="overwrite",
            )
        return TensorCoder.of_bytes(read_coder(session.target, sha256), where)

    def _fitted(self, name: str, chunks: Sequence[Chunk]) -> TensorCoder:
        samples = [array for chunk in chunks for array in chunk.arrays[name]]
        try:
            return TensorCoder.fit(self._tensors[name], samples[:FIT_SAMPLES])
        except ArgumentError as error:
            keys = [key for chunk in chunks for key in chunk.keys]
            sample = "" if error.index is None else f"sample {keys[error.index]!r}, "
            raise ArgumentError(f"{sample}field {name!r}: {error}") from error
