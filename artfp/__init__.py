"""Artificial fingerprints that trace generated images to the model that made them.

An encoder embeds a secret bit string in every image of a training set; a generative model trained
on that set reproduces it; a decoder reads it from suspicious images. Each name loads when it is
asked for: importing this package imports neither torch nor SciPy.

    >>> import artfp
    >>> from skimage.data import astronaut
    >>> watermark, key = artfp.Watermark.load("photo128"), artfp.Key.draw()
    >>> fingerprint = key.fingerprint(watermark.bits, owner="Ada", subject="photos v1")
    >>> marked = watermark.embed(astronaut(), fingerprint)
    >>> watermark.detect(marked, fingerprint).matches
    100
"""

import lazy_loader as lazy

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
