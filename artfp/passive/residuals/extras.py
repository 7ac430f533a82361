"""Which extras of camera forensics a comparison uses; none of them unless asked for.

    extras = Extras(zero_mean=True)
    references = extras.references(fingerprints)       # of K sources
    scores = extras.scores(extractor(x), references)   # (N, K)

As measured by `benchmarks/cameras.py` and `benchmarks/generators.py`: zero mean and DFT-Wiener
raise the AUC of cameras a little and lower that of generators, grey and maximum likelihood gain
nothing with either, and taking off what the sources have in common raises both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.passive.residuals import prnu
from artfp.passive.residuals.source_fingerprint import SourceFingerprint, correlation


@dataclass(frozen=True)
class Extras:
    """By default the plain correlation of residuals with mean residuals (Marra et al. 2019)."""

    grey: bool = False
    """Compare luminance, not the three colours."""
    zero_mean: bool = False
    """Take means of rows and columns off each parity (`prnu.zero_mean`)."""
    wiener: bool = False
    """Take peaks of the spectrum away (`prnu.wiener_dft`), after zero mean if both."""
    maximum_likelihood: bool = False
    """Weight the residuals of a fingerprint by their images (`prnu.maximum_likelihood`)."""
    less_common: bool = False
    """Take the mean over the sources off their fingerprints."""
    pce: bool = False
    """Peak-to-correlation energy instead of correlation (`prnu.pce`)."""
    reach: int | None = 0
    """Shifts that PCE searches, in pixels each way; None: all."""

    def references(self, fingerprints: Sequence[SourceFingerprint]) -> Tensor:
        """What residuals are compared with, (K, C, H, W), one for each of K fingerprints.

        Raises UserError: no fingerprint, several sizes or extractors, one without images, or, for
        maximum likelihood, one that was estimated without `weighted`.
        """
        for what in ("shape", "extractor"):
            found = {getattr(each, what) for each in fingerprints}
            if len(found) != 1:
                told = ", ".join(sorted(map(str, found))) or "none"
                raise UserError(f"fingerprints to compare with: one {what} expected, found {told}")
        estimates = [
            prnu.maximum_likelihood(each) if self.maximum_likelihood else each.mean
            for each in fingerprints
        ]
        cleaned = self.cleaned(torch.stack(estimates))
        return cleaned - cleaned.mean(0) if self.less_common else cleaned

    def cleaned(self, x: Tensor) -> Tensor:
        """Residuals or estimates (N, C, H, W) as they are compared; (N, 1, H, W) if grey."""
        x = prnu.grey(x) if self.grey else x
        x = prnu.zero_mean(x) if self.zero_mean else x
        return prnu.wiener_dft(x) if self.wiener else x

    def scores(self, residuals: Tensor, references: Tensor) -> Tensor:
        """Scores (N, K) of residuals (N, C, H, W), on their device; higher is more likely."""
        return self.compared(self.cleaned(residuals), references)

    def compared(self, cleaned: Tensor, references: Tensor) -> Tensor:
        """Scores (N, K) of what `cleaned` gave."""
        if self.pce:
            return prnu.pce(cleaned, references, self.reach).pce
        return correlation(cleaned, references)
