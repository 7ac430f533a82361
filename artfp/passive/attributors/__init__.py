"""Passive attributors: scores of images for each of several sources, from traces alone."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
