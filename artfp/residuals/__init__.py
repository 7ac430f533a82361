"""Noise residuals of images, and the fingerprints of sources as their means."""

from artfp.residuals.base import Extractor, Residual, known_extractors, load_extractor

__all__ = ["Extractor", "Residual", "known_extractors", "load_extractor"]
