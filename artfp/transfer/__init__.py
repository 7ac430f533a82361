"""Transfer of fingerprints from training images to what a generator makes (Yu et al. 2021)."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
