"""Fit of attributors: image sets, cross-validation, choice of the method, leakage of files."""
