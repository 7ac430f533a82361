"""Generative models by name, one file each; see `artfp.generators.base` for what a model is.

Example:
    from artfp.generators import ImageDraws, build
    model = build("dcgan", 32, seed=1)
    images = model.generator.sample(ImageDraws(0, range(16)))  # (16, 3, 32, 32) in [0, 1]
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
