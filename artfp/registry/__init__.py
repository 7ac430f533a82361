"""Who owns which fingerprint: a secret SQLite file, its text form, and a search over all of it.

with Registry("owner.registry", create=True) as registry:
    registry.add(Entry.of(word, "Ada", "cats v1"))
    found = registry.search(decoded_words, top=1)
"""

from artfp.registry.database import Damaged
from artfp.registry.entry import Entry
from artfp.registry.lines import export_lines, import_lines, read_lines
from artfp.registry.results import Added, Search, State
from artfp.registry.store import Registry

__all__ = [
    "Added",
    "Damaged",
    "Entry",
    "Registry",
    "Search",
    "State",
    "export_lines",
    "import_lines",
    "read_lines",
]
