"""Real images against generated ones by the generators' fingerprints (Marra et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from artfp.passive.roc import AucEstimate, CorrelationScores, Values, estimate_auc


@dataclass(frozen=True)
class Generated:
    """A generator's test images against the real ones."""

    source: str
    known: Values
    """Largest correlation of each image with a generator's fingerprint."""
    unknown: Values | None
    """The same without the generator's own fingerprint; None if there is no other generator."""


@dataclass(frozen=True)
class RealAgainst:
    """How well the largest correlation with any generator's fingerprint tells generated images."""

    real: Values
    """Largest correlation of each real image with a generator's fingerprint."""
    real_without: dict[str, Values]
    """The same without the fingerprint of the generator named."""
    generated: tuple[Generated, ...]

    def known(self, index: int | None = None) -> AucEstimate:
        """Of a generator's images, or of all generators': every generator has a fingerprint."""
        chosen = self.generated if index is None else (self.generated[index],)
        return estimate_auc(self.real, np.concatenate([each.known for each in chosen]))

    def unknown(self, index: int) -> AucEstimate | None:
        """Of a generator's images where only the others' fingerprints are known."""
        each = self.generated[index]
        if each.unknown is None:
            return None
        return estimate_auc(self.real_without[each.source], each.unknown)


def real_against(scores: CorrelationScores, real: Sequence[str]) -> RealAgainst:
    """Read the scores with these sources as real and all others as generators.

    Raises ValueError: no real source, no generator, or a name that is not among the sources.
    """
    unknown = [name for name in real if name not in scores.sources]
    generators = [i for i, name in enumerate(scores.sources) if name not in real]
    if unknown or not real or not generators:
        raise ValueError(f"real sources {list(real)} among {list(scores.sources)}")
    pooled = np.concatenate([v for i, v in enumerate(scores.values) if i not in generators])
    found, without = [], {}
    for own in generators:
        name, values = scores.sources[own], scores.values[own]
        others = [i for i in generators if i != own]
        unseen = values[:, others].max(1) if others else None
        found.append(Generated(name, values[:, generators].max(1), unseen))
        if others:
            without[name] = pooled[:, others].max(1)
    return RealAgainst(pooled[:, generators].max(1), without, tuple(found))
