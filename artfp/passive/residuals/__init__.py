"""Noise residuals of images, and the fingerprints of sources as their means."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
