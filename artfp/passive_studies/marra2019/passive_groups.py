"""Which sources are real, and which are kin."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from artfp.core.errors import UserError
from artfp.passive_studies.marra2019.dependence import Facts

REAL = "real"
GROUP = "group"


def real_sources(names: Sequence[str], asked: Sequence[str] | None) -> tuple[str, ...]:
    """The sources that are said to be real; by default those whose names begin with "real".

    Raises UserError: one that is not there, or nothing else is.
    """
    chosen = tuple(n for n in names if n.lower().startswith(REAL)) if asked is None else asked
    for name in chosen:
        if name not in names:
            raise UserError(f"--real: no source is called {name!r}; found {', '.join(names)}")
    if len(set(chosen)) == len(names):
        raise UserError("--real: all sources are real; real against generated needs a generator")
    return tuple(name for name in names if name in chosen)


def facts_by_name(names: Sequence[str]) -> dict[str, Facts]:
    """The group of each source: its name up to the first dot, as in dcgan.seed1."""
    return {name: {GROUP: name.split(".")[0]} for name in names}


def read_facts(path: Path, names: Sequence[str]) -> dict[str, Facts]:
    """What a JSON file tells of sources: {"NAME": "GROUP"} or {"NAME": {"FACT": "VALUE", ...}}.

    Sources that it leaves out take no part. Numbers count as text.

    Raises UserError: not such a file, a name that is not there, fewer than two sources, or facts
    that not all of them have.
    """
    try:
        told = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"--groups {path}: cannot be read as JSON: {error}") from None
    if not isinstance(told, dict) or len(told) < 2:
        raise UserError(f"--groups {path}: expected an object with two sources or more")
    found = {name: _facts(path, name, value) for name, value in told.items()}
    for name, facts in found.items():
        if name not in names:
            raise UserError(
                f"--groups {path}: no source is called {name!r}; found {', '.join(names)}"
            )
        first = next(iter(found))
        if set(facts) != set(found[first]):
            raise UserError(
                f"--groups {path}: {name} has {', '.join(facts)}, {first} has "
                f"{', '.join(found[first])}; give the same facts of all"
            )
    return found


def kin(facts: Mapping[str, Facts]) -> bool:
    """Whether two sources are told to be alike."""
    values = [tuple(each.values()) for each in facts.values()]
    return len(set(values)) < len(values)


def _facts(path: Path, name: str, value: object) -> Facts:
    if isinstance(value, str):
        return {GROUP: value}
    if isinstance(value, dict) and value:
        return {str(fact): str(of) for fact, of in value.items()}
    raise UserError(f"--groups {path}: {name} is {value!r}; expected a group, or facts by name")
