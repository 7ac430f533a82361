"""Measures of images and of sets of images: fidelity, perceptual, Frechet and kernel distances."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
