"""Proactive and passive attribution as methods that choose among the same sources.

A methods turns images into vectors once; from these come scores of single images and the
evidence of several images of one source. Both are larger for likelier sources.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from artfp.passive.attributors.bundle import FittedAttributor
from artfp.passive.attributors.score_model import Values
from artfp.robustness.proactive import read_logits
from artfp.stats import log_p_value
from artfp.stats.pooling import clip_logits
from artfp.stats.sign_tails import log_tail_hoeffding
from artfp.watermark import Decoder

LEVEL = 1e-3
"""p-value, corrected for the number of fingerprints, above which an image counts as unmarked."""


class ComparedMethod(Protocol):
    """What chooses among K sources."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources."""
        ...

    def score_vectors(self, x: Tensor) -> Values:
        """All that it sees in images (N, 3, H, W) in [0, 1], as (N, D)."""
        ...

    def scores(self, vectors: Values) -> Values:
        """Of each image (N, D) by itself, (N, K)."""
        ...

    def pooled(self, vectors: Values) -> Values:
        """Of images (n, D) that have one source, (K,)."""
        ...


class PassiveMethod:
    """A fitted attributor: log-likelihood ratios, which add up over images."""

    def __init__(self, attributor: FittedAttributor, name: str | None = None) -> None:
        self._attributor = attributor
        self.name, self.sources = name or attributor.name, attributor.sources

    def score_vectors(self, x: Tensor) -> Values:
        """See Contestant."""
        return self._attributor.score_vectors(x)

    def scores(self, vectors: Values) -> Values:
        """Log-likelihood ratios of each source against the mean of the others."""
        return self._attributor.log_ratios(vectors)

    def pooled(self, vectors: Values) -> Values:
        """Sums of log-likelihoods, each limited to what the held out images can show."""
        return np.asarray(self._attributor.log_likelihoods(vectors).sum(0))


class ProactiveMethod:
    """A decoder and the fingerprints of the sources; a source without one is called unmarked.

    An image is of the fingerprint that it matches best, or of the unmarked source if no match has
    a p-value of `level` after the correction for the number of fingerprints.
    """

    def __init__(
        self,
        decoder: Decoder,
        fingerprints: Mapping[str, ArrayLike | None],
        name: str = "proactive",
        level: float = LEVEL,
    ) -> None:
        """Take a decoder in evaluation mode and the fingerprint (bits,) of each source, or None.

        Raises ValueError: no fingerprint, two sources without one, or one of another length.
        """
        self.name, self.sources = name, tuple(fingerprints)
        self._decoder = decoder
        self._marked = [
            k for k, fingerprint in enumerate(fingerprints.values()) if fingerprint is not None
        ]
        known = [np.asarray(each) for each in fingerprints.values() if each is not None]
        if not known or len(fingerprints) - len(known) > 1:
            raise ValueError(
                f"{len(known)} fingerprints for {len(fingerprints)} sources; "
                "one source at most may have none"
            )
        for each in known:
            if each.shape != (decoder.bits,):
                raise ValueError(
                    f"a fingerprint of shape {each.shape}; the decoder reads {decoder.bits} bits"
                )
        self._signs: NDArray[np.float64] = np.stack(known).astype(np.float64) * 2.0 - 1.0
        self._log_level = float(np.log(level / len(known)))

    @torch.inference_mode()
    def score_vectors(self, x: Tensor) -> Values:
        """Logits (N, bits)."""
        return clip_logits(read_logits(self._decoder, x).double().cpu().numpy())

    def scores(self, vectors: Values) -> Values:
        """Minus the natural log p-values of the numbers of matching bits; unmarked: `_placed`."""
        bits = vectors.shape[1]
        matches = ((np.where(vectors > 0, 1.0, -1.0) @ self._signs.T + bits) / 2.0).round()
        return self._placed(-np.asarray(log_p_value(matches.astype(np.int64), bits)))

    def pooled(self, vectors: Values) -> Values:
        """Minus Hoeffding's bounds of the log p-values of the mean logits; unmarked: `_placed`."""
        common = vectors.mean(0)
        held = np.where(common < 0, -self._signs, self._signs)
        return self._placed(-log_tail_hoeffding(np.abs(common), held)[None])[0]

    def _placed(self, found: Values) -> Values:
        """Scores (N, marked) with a column for the unmarked source in its place.

        That is as far above `level` as the best of the others is below it.
        """
        best = found.max(1, keepdims=True)
        placed = np.repeat(-2.0 * self._log_level - best, len(self.sources), 1)
        placed[:, self._marked] = found
        return placed


def same_sources(methods: Sequence[ComparedMethod]) -> tuple[str, ...]:
    """The sources of all methods. Raises ValueError: they differ, or two have one name."""
    names = [method.name for method in methods]
    if len(set(names)) < len(names):
        raise ValueError(f"methods {', '.join(names)}: each takes a name of its own")
    if len({method.sources for method in methods}) != 1:
        raise ValueError("the methods know different sources")
    return methods[0].sources
