"""Analyses of residual fingerprints as in Marra et al. 2019."""
