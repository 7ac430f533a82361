"""Ownership of fingerprints: secret keys, commitments to publish, and a registry.

`Key` gives the fingerprints of its owner's models and data sets; `Commitment` fixes one before
images are examined; `Registry` keeps who owns which.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
