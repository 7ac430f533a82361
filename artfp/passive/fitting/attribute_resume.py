"""What a stopped fit had tried, so that it does not try it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from artfp import __version__
from artfp.data.resume import Journal, Manifest
from artfp.passive.fitting.cross_validation import Trial

RUN = "attribute"
"""What manifest and journal in the output folder are called after."""


class Memory:
    """Trials of one fit, in a journal in its output folder while it runs."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        """Claim the folder. Raises UserError: another fit was stopped there."""
        Manifest.claim(folder, {**settings, "version": __version__}, RUN)
        self._folder, self._journal = folder, Journal(folder, RUN)
        self._known = self._journal.records()

    def trial(self, name: str, make: Callable[[], Trial]) -> Trial:
        """The trial of a name, made only if no earlier run made it."""
        if name not in self._known:
            record = {"name": name, "trial": asdict(make())}
            self._journal.append(record)
            self._known[name] = record
        return Trial(**self._known[name]["trial"])

    def forget(self) -> None:
        """The fit has ended: remove manifest and journal."""
        self._journal.close()
        self._journal.remove()
        (self._folder / f"{RUN}.run.json").unlink(missing_ok=True)
