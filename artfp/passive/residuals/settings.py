"""Settings of `artfp denoiser`, `artfp attribute fingerprint` and `artfp attribute correlate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from artfp.core.device import DeviceSettings
from artfp.core.errors import UserError
from artfp.core.options import NonNegativeInt, PositiveFloat, PositiveInt, option
from artfp.core.settings import Settings


@dataclass(frozen=True, kw_only=True)
class DenoiserSettings(Settings):
    """Training of a denoiser.

    Args:
        data_dir: Folders (at any depth), zips, or lists of image paths; used in turn.
        output: File for the weights.
        limit: Images of each folder, at most.
        max_steps: Steps of training.
        batch_size: Patches of 96 pixels a side in a step; more where they are smaller.
        lr: Learning rate at its peak.
        width: Channels of the network's layers.
        seed: Seed of the weights and of all draws.
        precision: Lightning's precision: 32-true, bf16-mixed, ...

    Example:
        >>> DenoiserSettings(data_dir=("photos",), output="own.safetensors").lr
        0.005
    """

    title: ClassVar[str] = "training"

    data_dir: tuple[str, ...] = option(metavar="IMAGES")
    output: Path = option(metavar="FILE.safetensors")
    limit: PositiveInt | None = None
    max_steps: PositiveInt = 5000
    batch_size: PositiveInt = 3
    lr: PositiveFloat = 5e-3
    width: PositiveInt = 16
    seed: NonNegativeInt = 0
    precision: str = "32-true"


@dataclass(frozen=True, kw_only=True)
class ResidualFingerprintSettings(DeviceSettings):
    """Estimation of the residual fingerprint of one source.

    Args:
        data_dir: Images of the source: a folder (at any depth), a zip, one image, or a list of
            paths (.txt). With --merge not needed.
        output: File for the residual fingerprint.
        merge: Files of residual fingerprints whose images are added.
        source: Name of the source; by default the output file's name.
        extractor: Extractor of noise residuals: gaussian, learned, median, nonlocal_means, wavelet
            or wiener, or one that another package adds.
        weighted: Keep what --maximum_likelihood needs; the file has three times the size.

    Example:
        >>> ResidualFingerprintSettings(data_dir="photos", output="nikon.safetensors").extractor
        'wavelet:sigma=5'
    """

    title: ClassVar[str] = "residual fingerprint"

    data_dir: str | None = option(None, positional=True, metavar="IMAGES")
    output: Path = option(metavar="FILE.safetensors")
    merge: tuple[str, ...] = option((), separator=",", metavar="FILE,...")
    source: str | None = option(None, metavar="NAME")
    extractor: str = option("wavelet:sigma=5", metavar="NAME[:SETTING=VALUE,...]")
    weighted: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data_dir is None and len(self.merge) < 2:
            raise UserError("give images, or two or more residual fingerprints to --merge")
        if self.output.suffix != ".safetensors":
            raise UserError(f"--output {self.output}: end it with .safetensors")


@dataclass(frozen=True, kw_only=True)
class PrnuSettings(Settings):
    """Comparison of noise residuals with residual fingerprints.

    By default it is the plain normalised correlation (Marra et al. 2019). The others come from
    camera forensics (`artfp.passive.residuals.prnu`).

    Args:
        grey: Compare luminance, not the three colours.
        zero_mean: Subtract the means of rows and columns, by parity.
        wiener: Suppress peaks of the spectrum (Wiener filter of the DFT), after --zero_mean.
        maximum_likelihood: Weight residuals by their images; needs fingerprints that were estimated
            with --weighted.
        subtract_grand_mean: Subtract the mean over the sources from each fingerprint.
        pce: Peak-to-correlation energy (PCE) over all circular shifts instead of correlation, so
            that cropped images are found; 60 is a usual threshold (Goljan et al. 2009).
        max_shift: Shifts that --pce searches, in pixels each way; by default all, 0 for none.

    Example:
        >>> PrnuSettings(zero_mean=True).command_line("artfp attribute correlate")
        'artfp attribute correlate --zero_mean'
    """

    title: ClassVar[str] = "camera forensics"

    grey: bool = False
    zero_mean: bool = False
    wiener: bool = False
    maximum_likelihood: bool = False
    subtract_grand_mean: bool = False
    pce: bool = False
    max_shift: NonNegativeInt | None = None

    @property
    def shifted(self) -> bool:
        """True if shifts are searched."""
        return self.pce and self.max_shift != 0


@dataclass(frozen=True, kw_only=True)
class CorrelateSettings(PrnuSettings, DeviceSettings):
    """Correlation of images with residual fingerprints.

    Args:
        data_dir: Images: a folder (at any depth), a zip, one image, or a list of paths (.txt).
        residual_fingerprints: Files of artfp attribute fingerprint or study, of one size and
            extractor.
        output: CSV file; by default the table goes to standard output.

    Example:
        >>> CorrelateSettings(data_dir="photos", residual_fingerprints=("a.st", "b.st")).pce
        False
    """

    title: ClassVar[str] = "correlation"

    data_dir: str = option(positional=True, metavar="IMAGES")
    residual_fingerprints: tuple[str, ...] = option(separator=",", metavar="FILE,...")
    output: Path | None = option(None, metavar="FILE.csv")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_shift is not None and not self.pce:
            raise UserError("--max_shift belongs to --pce, which is not given")
        if self.subtract_grand_mean and len(self.residual_fingerprints) < 2:
            raise UserError("--subtract_grand_mean takes two residual fingerprints or more")
