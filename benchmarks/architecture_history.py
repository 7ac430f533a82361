"""Counts in git's history, for benchmarks/architecture.py: files that change together."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

from architecture_code import PACKAGE, package_of

MOST_FILES = 20
"""Files of a commit, at most, whose pairs count as changed together: more is a mass change."""


_MOVED = 0.4  # share of a deleted file's lines that must be found in the file it was folded into


def changed_together(repository: Path, revision: str, until: str = "") -> dict[str, Any]:
    """Return how often two files changed in one commit, and in how many of these across packages.

    A file is where it lies at the revision, through renames and through being folded into another
    file; files that are gone do not count, nor do commits of more than MOST_FILES files. Only
    commits up to `until` count, so that two layouts can be judged by the same changes.
    """
    history = _History(repository)
    counted = set(_git(repository, "rev-list", until or revision).split())
    taken = [(commit, history.take(commit, rows)) for commit, rows in _log(repository, revision)]
    commits = [changed for commit, changed in taken if commit in counted]
    pairs: Counter[tuple[str, str]] = Counter()
    used = 0
    for changed in commits:
        files = sorted({path for each in changed if (path := history.path(each)) is not None})
        if 1 < len(changed) <= MOST_FILES and len(files) > 1:
            used += 1
            pairs.update(combinations(files, 2))
    across = {pair: n for pair, n in pairs.items() if package_of(pair[0]) != package_of(pair[1])}
    total = sum(pairs.values())
    return {
        "commits": used,
        "pairs": total,
        "across": sum(across.values()),
        "share": sum(across.values()) / total if total else None,
        "different_pairs_share": len(across) / len(pairs) if pairs else None,
    }


def _git(repository: Path, *words: str) -> str:
    command = ["git", "-C", str(repository), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _log(repository: Path, revision: str) -> Iterator[tuple[str, list[list[str]]]]:
    """Yield commits, the oldest first, with (status, path, new path) of each changed file."""
    text = _git(
        repository, "-c", "diff.renameLimit=0", "log", "--reverse", "--no-merges", "-M40%",
        "--name-status", "--format=%x00%H", revision, "--", f"{PACKAGE}/*.py",
    )  # fmt: skip
    for block in text.split("\0")[1:]:
        commit, *rows = [line for line in block.split("\n") if line]
        yield commit, [row.split("\t") for row in rows]


class _History:
    """Which files are one and the same as time goes on; each is known by a number."""

    def __init__(self, repository: Path) -> None:
        self.repository = repository
        self.numbers: dict[str, int] = {}
        self.folded: dict[int, int] = {}
        self.count = 0

    def take(self, commit: str, rows: list[list[str]]) -> set[int]:
        """Take a commit's changes; the numbers of the files that it changed."""
        changed: set[int] = set()
        gone: list[tuple[str, int]] = []
        moved = [(row[1], row[2]) for row in rows if row[0][0] == "R"]
        numbers = {new: self._number(old) for old, new in moved}
        for old, _ in moved:
            self.numbers.pop(old, None)
        self.numbers |= numbers
        changed.update(numbers.values())
        for status, *paths in rows:
            if status[0] == "D":
                gone.append((paths[0], self.numbers.pop(paths[0], -1)))
            elif status[0] in "AMC":
                changed.add(self._number(paths[-1]))
        for path, number in gone:
            target = self._taker(commit, path, rows)
            if number >= 0:
                changed.add(number)
                if target is not None:
                    self.folded[number] = self._number(target)
        return changed

    def path(self, number: int) -> str | None:
        """Return where a file lies in the end; None: it is gone."""
        while number in self.folded:
            number = self.folded[number]
        return self._places.get(number)

    @cached_property
    def _places(self) -> dict[int, str]:
        return {number: path for path, number in self.numbers.items()}

    def _number(self, path: str) -> int:
        if path not in self.numbers:
            self.numbers[path] = self.count
            self.count += 1
        return self.numbers[path]

    def _taker(self, commit: str, path: str, rows: list[list[str]]) -> str | None:
        """Return the file that most lines of a deleted one went to."""
        lines = _lines(self._show(f"{commit}^", path))
        best, most = None, _MOVED * len(lines)
        for status, *paths in rows:
            if status[0] != "D" and lines:
                found = len(lines & _lines(self._show(commit, paths[-1])))
                if found > most:
                    best, most = paths[-1], found
        return best

    def _show(self, commit: str, path: str) -> str:
        try:
            return _git(self.repository, "show", f"{commit}:{path}")
        except subprocess.CalledProcessError:
            return ""


def _lines(text: str) -> set[str]:
    return {line for each in text.split("\n") if len(line := each.strip()) > 12}
