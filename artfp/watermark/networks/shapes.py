"""Bits and sides that the networks take; to check them loads nothing heavy."""

from __future__ import annotations

from artfp.ownership.key import MAX_BITS, MIN_BITS

SECRET_SIDE = 16
"""Side of the map into which published networks lay out the message before it is upsampled."""

_MIN_OWN_BITS, _MAX_OWN_BITS = 8, 256
_MIN_RESOLUTION, _MAX_RESOLUTION = 32, 512
_MAX_PUBLISHED_RESOLUTION = 1024


def check_shape(bits: int, resolution: int) -> None:
    """Refuse bit counts outside 8..256 and resolutions that are no power of two in 32..512."""
    if not _MIN_OWN_BITS <= bits <= _MAX_OWN_BITS:
        raise ValueError(f"bits is {bits}; these networks take {_MIN_OWN_BITS} to {_MAX_OWN_BITS}")
    power_of_two = resolution > 0 and resolution & (resolution - 1) == 0
    if not (power_of_two and _MIN_RESOLUTION <= resolution <= _MAX_RESOLUTION):
        raise ValueError(
            f"resolution is {resolution}; take a power of two from "
            f"{_MIN_RESOLUTION} to {_MAX_RESOLUTION}"
        )


def check_published_shape(bits: int, resolution: int) -> None:
    """Refuse bits outside 1..512, and sides in pixels that the published networks cannot halve."""
    if not MIN_BITS <= bits <= MAX_BITS:
        raise ValueError(f"bits is {bits}; a fingerprint has {MIN_BITS} to {MAX_BITS} bits")
    largest = _MAX_PUBLISHED_RESOLUTION
    if resolution != SECRET_SIDE and (resolution % 32 or not 32 <= resolution <= largest):
        raise ValueError(
            f"resolution is {resolution}; take {SECRET_SIDE}, or a multiple of 32 up to {largest}"
        )


SHAPE_CHECKS = {"residual": check_shape, "stegastamp": check_published_shape}
"""By architecture, of artfp's own."""
