"""Extractors of noise residuals by name: an image minus what a denoiser makes of it."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from artfp.core.errors import UserError
from artfp.passive.residuals.denoiser import learned_residual
from artfp.passive.residuals.filters import (
    gaussian_residual,
    median_residual,
    nonlocal_means_residual,
    wiener_residual,
)
from artfp.passive.residuals.wavelet import wavelet_residual

ResidualFunction = Callable[[Tensor], Tensor]
"""Images (N, C, H, W) in [0, 1] to their residuals (N, C, H, W), float32, in the same units."""

EXTRACTORS: dict[str, Callable[..., ResidualFunction]] = {
    "gaussian": gaussian_residual,
    "learned": learned_residual,
    "median": median_residual,
    "nonlocal_means": nonlocal_means_residual,
    "wavelet": wavelet_residual,
    "wiener": wiener_residual,
}
"""What makes an extractor from its settings, which are numbers or texts with defaults."""


@dataclass(frozen=True)
class Extractor:
    """A residual extractor that knows its name; `settings` are all that decides its results."""

    name: str
    settings: dict[str, float | str]
    residual: ResidualFunction

    def __call__(self, x: Tensor) -> Tensor:
        """Residuals (N, C, H, W), float32, of images (N, C, H, W) in [0, 1], on their device.

        Each channel of each image for itself. `x` stays as it is.
        """
        return self.residual(x.float())

    @property
    def text(self) -> str:
        """What `load_extractor` takes to make this one again."""
        values = (
            f"{k}={v}" if isinstance(v, str) else f"{k}={v:g}" for k, v in self.settings.items()
        )
        return f"{self.name}:{','.join(values)}"


def known_extractors() -> list[str]:
    """Names that `load_extractor` knows, each with its settings' defaults."""
    return [load_extractor(name).text for name in EXTRACTORS]


def load_extractor(text: str) -> Extractor:
    """The extractor `name` or `name:setting=value,...`; strengths are in grey levels of 255.

    Raises UserError: no such extractor or setting, or a value that is no number or out of range.
    """
    name, _, rest = text.strip().partition(":")
    if name not in EXTRACTORS:
        near = difflib.get_close_matches(name, EXTRACTORS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"extractor {name!r}: known are {', '.join(EXTRACTORS)}{hint}")
    make = EXTRACTORS[name]
    settings = {key: value.default for key, value in inspect.signature(make).parameters.items()}
    for part in filter(None, rest.split(",")):
        key, equals, value = (word.strip() for word in part.partition("="))
        if key not in settings or not equals:
            takes = ", ".join(settings) or "nothing"
            raise UserError(f"extractor {name}: found {part!r}; its settings are {takes}")
        try:
            settings[key] = type(settings[key])(value)
        except ValueError:
            raise UserError(f"extractor {name}: {key} is {value!r}, expected a number") from None
    return Extractor(name, settings, make(**settings))
