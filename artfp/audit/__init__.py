"""Detection with a verdict: whether images carry a fingerprint, and how sure that is.

`detect_folder` decodes images, compares them with a fingerprint or a registry and decides: match,
no match or inconclusive. `images_needed` computes how many images such a verdict needs.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
