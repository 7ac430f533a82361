"""Parts that other packages add, found by entry points.

A package declares, for instance in its `pyproject.toml`,

    [project.entry-points."artfp.perturbations"]
    sharpen = "my_package.sharpen:Sharpen"

and `sharpen` appears in every command that lists perturbations.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any, TypeVar

T = TypeVar("T")

GROUPS = {
    "artfp.perturbations": "a perturbation: an `artfp.perturbations.Perturbation`",
    "artfp.methods": "a watermark method: see `artfp.robustness.methods`",
    "artfp.architectures": "an encoder and decoder: see `artfp.watermark.networks.build`",
    "artfp.attributors": "a passive attributor: see `artfp.passive.attributors.base`",
    "artfp.extractors": "a residual extractor: see `artfp.passive.residuals.extractor`",
    "artfp.generators": "a generative model: an `artfp.generators.GenerativeModel` class",
}
"""Groups of entry points, with what an entry of each is."""

_log = logging.getLogger("artfp")


def with_plugins(
    group: str, own: Mapping[str, T], check: Callable[[Any], T | None] = lambda found: found
) -> dict[str, T]:
    """Return artfp's own parts of a kind and those that other packages add.

    Args:
        group: One of `GROUPS`.
        own: artfp's parts by name, which nothing can replace.
        check: Function from what an entry point names to the part, or to None if it is none.

    Returns:
        All parts by name, artfp's first. An entry that cannot be loaded, is no such part, or has a
        name that is taken is passed over with a warning.

    Raises:
        KeyError: there is no such group.
    """
    expected = GROUPS[group]
    found = dict(own)
    for entry in metadata.entry_points(group=group):
        if entry.name in found:
            _log.warning("plugin %s = %s: the name is taken; left out", entry.name, entry.value)
            continue
        try:
            part = check(entry.load())
        except Exception as error:  # whatever another package raises is its own fault
            _log.warning("plugin %s = %s failed: %s", entry.name, entry.value, error)
            continue
        if part is None:
            _log.warning("plugin %s = %s is not %s", entry.name, entry.value, expected)
        else:
            found[entry.name] = part
    return found
