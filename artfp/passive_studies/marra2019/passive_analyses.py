"""The analyses of a passive study by name: from what was measured to table, words and picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from artfp.passive_studies.marra2019 import analyses as parts
from artfp.passive_studies.marra2019 import passive_score_parts as scores
from artfp.passive_studies.marra2019.measure import Measured


@dataclass(frozen=True)
class Analysis:
    """A heading, and what makes the part."""

    title: str
    make: Callable[[Measured, parts.Kinship], parts.Part]


ANALYSES = {
    "fingerprints": Analysis("Fingerprints", parts.fingerprints),
    "energy": Analysis("Energy of averaged residuals", parts.energy),
    "autocorrelation": Analysis("Autocorrelation of the fingerprints", parts.autocorrelations),
    "histograms": Analysis("Same and cross correlations", scores.histograms),
    "matrix": Analysis("Mean correlations", scores.matrix),
    "jpeg": Analysis("Attribution after JPEG", scores.jpeg),
    "number": Analysis("Attribution by the number of images", scores.number),
    "size": Analysis("Attribution by the size of images", scores.size),
    "real": Analysis("Real against generated", scores.real),
    "dependence": Analysis("What fingerprints depend on", scores.kinds),
}
"""All analyses by name, in the order of the page."""
