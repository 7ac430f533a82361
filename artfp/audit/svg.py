"""Pictures of a report: a bar or a strip for each image, and a histogram, made of numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from artfp.stats import log_p_value

_WIDTH, _HEIGHT = 720, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 34, 56


def match_bar(matches: int, bits: int, threshold: int) -> Markup:
    """Draw how many bits match, not which, with a mark at the threshold of a single image."""
    label = f"{matches} of {bits} bits match"
    mark = _mark(threshold) if threshold <= bits else ""
    return Markup(
        f'<svg class="strip" role="img" aria-label="{label}" viewBox="0 0 {bits} 10" '
        f'preserveAspectRatio="none"><rect class="off" width="{bits}" height="10"/>'
        f'<rect class="on" width="{matches}" height="10"/>{mark}</svg>'
    )


def agreement_strip(agreement: str, threshold: int) -> Markup:
    """Draw which bits match, from 0s and 1s: as secret as the fingerprint."""
    bits, matches = len(agreement), agreement.count("1")
    cells = "".join(f"M{i} 0h1v10h-1z" for i, bit in enumerate(agreement) if bit == "1")
    return Markup(
        f'<svg class="strip" role="img" aria-label="{matches} of {bits} bits match, bit by bit" '
        f'viewBox="0 0 {bits} 10" preserveAspectRatio="none" shape-rendering="crispEdges">'
        f'<rect class="off" width="{bits}" height="10"/><path class="on" d="{cells}"/></svg>'
    )


def null_distribution(bits: int, count: int) -> NDArray[np.float64]:
    """Return P (bits + 1,) of 0 to `bits` matches with the nearest of random fingerprints."""
    tails = np.exp(np.append(log_p_value(np.arange(1, bits + 1), bits), -np.inf))
    # At most m matches with all of them; the probability of one more is tails[m].
    with np.errstate(divide="ignore"):
        below = np.exp(count * np.log1p(-tails))
    distribution: NDArray[np.float64] = np.diff(below, prepend=0.0)
    return distribution


def histogram(matches: Sequence[int], bits: int, fingerprints: int, threshold: int) -> Markup:
    """Draw images by the number of bits that match, beside what chance alone would give."""
    counts = Counter(matches)
    expected = len(matches) * null_distribution(bits, fingerprints)
    likely = np.flatnonzero(expected > 0.01 * expected.max())
    marked = min(threshold, bits)
    low = max(min(min(counts), int(likely[0])) - 1, 0)
    high = min(max(max(counts), int(likely[-1]), marked) + 1, bits)
    top = max(max(counts.values()), float(expected.max()))
    step = (_WIDTH - _LEFT - _RIGHT) / (high - low + 1)
    floor = _HEIGHT - _BOTTOM

    def x(count: float) -> float:
        return _LEFT + (count - low) * step

    def y(images: float) -> float:
        return floor - (floor - _TOP) * images / top

    parts = [_grid(top, y)]
    for count, images in sorted(counts.items()):
        height = floor - y(images)
        parts.append(
            f'<rect class="seen" x="{x(count) + step * 0.1:.1f}" y="{y(images):.1f}" '
            f'width="{step * 0.8:.1f}" height="{height:.1f}"/>'
        )
    line = " ".join(f"{x(m + 0.5):.1f},{y(expected[m]):.1f}" for m in range(low, high + 1))
    parts.append(f'<polyline class="chance" points="{line}"/>')
    if threshold <= bits:
        at = x(threshold)
        side, gap = ("end", -5) if at > _WIDTH / 2 else ("start", 5)
        parts.append(
            f'<line class="limit" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP - 10}" y2="{floor}"/>'
            f'<text x="{at + gap:.1f}" y="{_TOP - 14}" text-anchor="{side}">'
            f"match of one image: {threshold} or more</text>"
        )
    parts.append(
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{floor}" y2="{floor}"/>'
    )
    for count in _ticks(low, high):
        parts.append(
            f'<text x="{x(count + 0.5):.1f}" y="{floor + 20}" text-anchor="middle">{count}</text>'
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">bits that match, of {bits}'
        "</text>"
    )
    summary = (
        f"Histogram of {len(matches)} images: from {min(counts)} to {max(counts)} of {bits} bits "
        f"match, {int(np.median(list(matches)))} in the median; by chance alone about "
        f"{int(expected.argmax())} would."
    )
    return Markup(
        f'<svg class="histogram" role="img" aria-label="{summary}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}">{"".join(parts)}</svg>'
    )


def _mark(threshold: int) -> str:
    return (
        f'<rect fill="#fff" x="{threshold - 0.9}" width="1.8" height="10"/>'
        f'<rect class="limit" x="{threshold - 0.4}" width="0.8" height="10"/>'
    )


def _grid(top: float, y: object) -> str:
    """Lines and numbers at up to five round numbers of images."""
    assert callable(y)
    unit = 10 ** max(math.floor(math.log10(max(top, 1))), 0)
    steps = (max(unit // 5, 1), max(unit // 2, 1), unit, 2 * unit)
    step = next(step for step in steps if top / step <= 5)
    lines = []
    for images in range(0, math.floor(top) + 1, step):
        at = y(images)
        lines.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{images}</text>'
        )
    return "".join(lines)


def _ticks(low: int, high: int) -> range:
    step = next(step for step in (1, 2, 5, 10, 20, 50) if (high - low) / step <= 12)
    return range(-(-low // step) * step, high + 1, step)
