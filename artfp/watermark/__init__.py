"""Watermarks: networks that embed fingerprints in images and decode them; their training."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
