"""Registry of fingerprints and their owners: a secret SQLite file, its text form, and a search.

with Registry("owner.registry", create=True) as registry:
    registry.add(RegistryEntry.of(fingerprint, "Ada", "cats v1"))
    found = registry.search(decoded, top=1)
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
