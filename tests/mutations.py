"""Odd values in place of those of a JSON file, drawn by a seed."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

_DEEP = "[" * 100_000 + "]" * 100_000
_ODD: tuple[Any, ...] = (
    None,
    True,
    "",
    "x\n\x1b[31m" * 30,
    "\ud800",
    [],
    {},
    [[]],
    {"kind": {}},
    -1,
    0,
    3,
    0.5,
    2**31,
    2**70,
    10**400,
    1e308,
    float("inf"),
    float("nan"),
)


def mutated_json(content: Any, seed: int, count: int) -> Iterator[str]:
    """Yield texts of JSON with a value or a key changed or left out, or nested very deep."""
    chance = random.Random(seed)
    for _ in range(count):
        changed = copy.deepcopy(content)
        parent, key = _place(changed, chance)
        how = chance.randrange(8)
        if how == 0:
            del parent[key]
        elif how == 1 and isinstance(parent, dict):
            parent[str(key) + "x"] = parent.pop(key)
        elif how == 2 and isinstance(parent, list):
            parent.append(parent[key])
        elif how == 3:
            parent[key] = "DEEP"
        else:
            parent[key] = chance.choice(_ODD)
        yield json.dumps(changed).replace('"DEEP"', _DEEP, 1)


def _place(value: Any, chance: random.Random) -> tuple[Any, Any]:
    """Return an object or a list in a value, and a key of it, at any depth."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = chance.choice(keys)
        inner = value[key]
        if not isinstance(inner, dict | list) or not inner or chance.random() < 0.2:
            return value, key
        value = inner
