"""Generative models by name, one file each; see `artfp.generators.base` for what a model is."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
