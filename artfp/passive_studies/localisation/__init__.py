"""Localisation of splices by a residual fingerprint."""
