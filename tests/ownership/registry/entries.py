"""Entries for the tests of registries."""

from __future__ import annotations

from typing import Any

import numpy as np

from artfp.ownership.registry import RegistryEntry

DECODER = "ab" * 32


HOSTILE = [
    "' OR 1=1; DROP TABLE entries; --",
    '"quoted"',
    "<script>alert(1)</script>",
    "%s %d {} \\",
    "\u202eright to left",
    "\U0001f600 \u06a9\u200c\u0646",
    "NULL",
    "x" * 500,
]


def word(bits: int = 100, seed: int = 0) -> Any:
    return np.random.default_rng([seed, bits]).integers(0, 2, bits).astype(np.uint8)


def entry(number: int = 0, bits: int = 100, **more: Any) -> Any:
    return RegistryEntry.of(word(bits, number), "Ada", f"model {number}", **more)
