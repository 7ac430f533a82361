"""Extractors of noise residuals by name: an image minus its denoised version.

Other packages add extractors by the entry point `artfp.extractors`. It names a function like those
in `filters`: its parameters, numbers or texts with defaults, are the settings, and it returns a
function of images (N, C, H, W) in [0, 1] that gives their residuals, in the same shape and units.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor

from artfp.core.errors import UserError
from artfp.core.plugins import with_plugins
from artfp.passive.residuals.denoiser import learned_residual
from artfp.passive.residuals.filters import (
    gaussian_residual,
    median_residual,
    nonlocal_means_residual,
    wiener_residual,
)
from artfp.passive.residuals.wavelet import wavelet_residual

ResidualFunction = Callable[[Tensor], Tensor]
"""Function from images (N, C, H, W) in [0, 1] to their residuals (N, C, H, W), float32."""

ExtractorFactory = Callable[..., ResidualFunction]
"""Function from settings to a residual function."""

_OWN: dict[str, ExtractorFactory] = {
    "gaussian": gaussian_residual,
    "learned": learned_residual,
    "median": median_residual,
    "nonlocal_means": nonlocal_means_residual,
    "wavelet": wavelet_residual,
    "wiener": wiener_residual,
}


@dataclass(frozen=True)
class Extractor:
    """Extractor of noise residuals, made by `load_extractor`.

    Args:
        name: Name of its kind.
        settings: All that decides its results.
        residual: Function that computes residuals.

    Example:
        >>> import torch
        >>> extractor = load_extractor("gaussian:sigma=0.5")
        >>> extractor(torch.rand(2, 3, 16, 16)).shape
        torch.Size([2, 3, 16, 16])
    """

    name: str
    settings: dict[str, float | str]
    residual: ResidualFunction

    def __call__(self, x: Tensor) -> Tensor:
        """Compute the residuals of images, of each channel of each image for itself.

        Args:
            x: Images (N, C, H, W) in [0, 1], which stay as they are.

        Returns:
            Residuals (N, C, H, W), float32, on the same device.
        """
        return self.residual(x.float())

    @property
    def text(self) -> str:
        """Text that `load_extractor` takes to make this one again."""
        values = (
            f"{k}={v}" if isinstance(v, str) else f"{k}={v:g}" for k, v in self.settings.items()
        )
        return f"{self.name}:{','.join(values)}"


def known_extractors() -> list[str]:
    """Return the texts of all extractors, each with its settings' defaults.

    Example:
        >>> known_extractors()[0]
        'gaussian:sigma=1'
    """
    return [load_extractor(name).text for name in _factories()]


def load_extractor(text: str) -> Extractor:
    """Make an extractor of noise residuals.

    Args:
        text: `NAME` or `NAME:SETTING=VALUE,...`; strengths are in grey levels of 255.

    Returns:
        The extractor.

    Raises:
        UserError: no such extractor or setting, or a value that is no number or out of range.

    Example:
        >>> load_extractor("wavelet:sigma=1").text
        'wavelet:sigma=1,levels=4'
    """
    name, _, rest = text.strip().partition(":")
    factories = _factories()
    if name not in factories:
        near = difflib.get_close_matches(name, factories, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"extractor {name!r}: known are {', '.join(factories)}{hint}")
    factory = factories[name]
    settings = {key: value.default for key, value in inspect.signature(factory).parameters.items()}
    for part in filter(None, rest.split(",")):
        key, equals, value = (word.strip() for word in part.partition("="))
        if key not in settings or not equals:
            takes = ", ".join(settings) or "nothing"
            raise UserError(f"extractor {name}: found {part!r}; its settings are {takes}")
        try:
            settings[key] = type(settings[key])(value)
        except ValueError:
            raise UserError(f"extractor {name}: {key} is {value!r}, expected a number") from None
    return Extractor(name, settings, factory(**settings))


@cache
def _factories() -> dict[str, ExtractorFactory]:
    return with_plugins("artfp.extractors", _OWN, _checked)


def _checked(found: Any) -> ExtractorFactory | None:
    """Return a factory whose parameters are all numbers or texts with defaults, else None."""
    if not callable(found):
        return None
    defaults = [parameter.default for parameter in inspect.signature(found).parameters.values()]
    return found if all(isinstance(each, int | float | str) for each in defaults) else None
