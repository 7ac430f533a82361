"""Removal of a residual fingerprint, to measure robustness."""
