"""Passive attribution: which of several known sources made an image, by the traces it left."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
