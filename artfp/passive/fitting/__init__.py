"""Fit of attributors: image sets, cross-validation, choice of the method, leakage of files."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
