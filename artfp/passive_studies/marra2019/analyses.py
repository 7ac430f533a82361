"""Analyses of Marra et al. 2019: from measurements to a text, a table and a figure each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from artfp.passive_studies.marra2019.analysis_result import AnalysisResult, SourceInfo
from artfp.passive_studies.marra2019.attribution_analyses import (
    analyse_confusion,
    analyse_jpeg,
    analyse_number,
    analyse_perturbed,
    analyse_size,
)
from artfp.passive_studies.marra2019.correlation_analyses import (
    analyse_dependence,
    analyse_histograms,
    analyse_matrix,
    analyse_real,
    analyse_roc,
)
from artfp.passive_studies.marra2019.fingerprint_analyses import (
    analyse_autocorrelation,
    analyse_energy,
    analyse_fingerprints,
)
from artfp.passive_studies.marra2019.measure import ResidualMeasurements


@dataclass(frozen=True)
class Analysis:
    """Heading of an analysis, and its function."""

    title: str
    analyse: Callable[[ResidualMeasurements, SourceInfo], AnalysisResult]


ANALYSES = {
    "fingerprints": Analysis("Fingerprints", analyse_fingerprints),
    "energy": Analysis("Energy of averaged residuals", analyse_energy),
    "autocorrelation": Analysis("Autocorrelation of the fingerprints", analyse_autocorrelation),
    "histograms": Analysis("Same and cross correlations", analyse_histograms),
    "matrix": Analysis("Mean correlations", analyse_matrix),
    "confusion": Analysis("Confusions", analyse_confusion),
    "roc": Analysis("ROC of each fingerprint", analyse_roc),
    "jpeg": Analysis("Attribution after JPEG", analyse_jpeg),
    "perturbed": Analysis("Attribution after other perturbations", analyse_perturbed),
    "number": Analysis("Attribution by the number of images", analyse_number),
    "size": Analysis("Attribution by the size of images", analyse_size),
    "real": Analysis("Real against generated", analyse_real),
    "dependence": Analysis("What fingerprints depend on", analyse_dependence),
}
"""All analyses by name, in the order of the page."""
