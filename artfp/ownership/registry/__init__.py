"""Who owns which fingerprint: a secret SQLite file, its text form, and a search over all of it.

with Registry("owner.registry", create=True) as registry:
    registry.add(Entry.of(word, "Ada", "cats v1"))
    found = registry.search(decoded_words, top=1)
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
