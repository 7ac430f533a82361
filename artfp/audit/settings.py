"""Settings of `artfp detect` and `artfp power`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from artfp.core.device import LoadingSettings
from artfp.core.errors import UserError
from artfp.core.options import Bounds, PositiveInt, Probability, option
from artfp.core.settings import Settings
from artfp.data.settings import ImageSettings
from artfp.ownership.settings import FingerprintSettings
from artfp.watermark.weight_settings import SIZE_FLAGS, DecoderSettings

STDOUT = "-"
"""Value of options that write a file, for standard output."""


@dataclass(frozen=True, kw_only=True)
class DetectSettings(FingerprintSettings, DecoderSettings, ImageSettings, LoadingSettings):
    """Images that are examined, what they are compared with, and what is written.

    Args:
        data_dir: Images to examine: a folder (at any depth), a zip, one image, or a list of paths
            (.txt).
        output_dir: Folder for detected_fingerprints.txt and .csv. By default nothing is written;
            the verdict or, with nothing to compare with, the decoded bits are printed.
        fingerprint_size: Bits of the fingerprint; only checked against the weights.
        registry: Compare with all entries of a registry (artfp registry) instead of one
            fingerprint.
        same_source: The images come from one suspected source: test what they have in common.
        alpha: Level of a match, over all comparisons; by default 1e-4.
        prior: Probability, before the test, that one of the fingerprints is there. It changes the
            odds that are reported, not the verdict; by default 0.01.
        calibration: Results of the decoder on clean images, by artfp calibrate; by default the
            file ..._calibration.json beside the decoder's, if it is there.
        report: Write a report: one HTML file with everything that the verdict rests on.
        json: Write the contents of the report as JSON; "-" for standard output, all else then
            goes to stderr.
        reveal: Show in report and JSON which bits match. Together with the images that gives the
            secret fingerprint.
        exit_code: Return the verdict as the exit code: 0 match, 1 no match, 3 inconclusive.
        seed: Accepted as published; it has no effect, since nothing is drawn at random.

    Example:
        >>> settings = DetectSettings(data_dir="photo.jpg", fingerprint="0110")
        >>> settings.command_line("artfp detect")
        'artfp detect --data_dir photo.jpg --fingerprint ...'
    """

    title: ClassVar[str] = "detection"

    writes_pictures: ClassVar[bool] = False

    data_dir: str = option(metavar="IMAGES", positional=True)
    output_dir: Path | None = option(None, metavar="FOLDER")
    fingerprint_size: PositiveInt | None = option(None, flags=SIZE_FLAGS)
    registry: Path | None = option(None, metavar="FILE", group="verdict")
    same_source: bool = option(False, group="verdict")
    alpha: Probability | None = option(None, group="verdict")
    prior: Probability | None = option(None, group="verdict")
    calibration: Path | None = option(None, metavar="FILE", group="verdict")
    report: Path | None = option(None, metavar="FILE.html", group="verdict")
    json: str | None = option(None, metavar="FILE", group="verdict")
    reveal: bool = option(False, group="verdict")
    exit_code: bool = option(False, flags=("--exit-code", "--exit_code"), group="verdict")
    seed: int | None = None

    @property
    def without_effect(self) -> dict[str, str]:
        """Fields that change nothing beside the others, with the reasons."""
        return super().without_effect | {"seed": "nothing is drawn at random"}

    def __post_init__(self) -> None:
        super().__post_init__()
        one = self.has_bits or self.key is not None
        if self.key is None and (self.owner, self.subject) != (None, None):
            raise UserError(
                "--owner and --subject say what to derive from --key, which is not given"
            )
        if self.registry is not None and one:
            raise UserError(
                "--registry, --key, --fingerprint and --fingerprint_file: give one of them"
            )
        if self.gives_verdict and not self.compares:
            raise UserError(
                "a verdict needs something to compare with: --registry, --key or --fingerprint_file"
            )
        if self.reveal and self.report is None and self.json is None:
            raise UserError("--reveal: only with --report or --json")
        if self.output_dir is None and self.devices not in ("auto", "1"):
            raise UserError(f"--devices {self.devices} needs --output_dir, which processes share")

    @property
    def compares(self) -> bool:
        """True if there is something to compare the images with."""
        return self.has_bits or self.registry is not None or self.key is not None

    @property
    def gives_verdict(self) -> bool:
        """True if a verdict is asked for, or nothing else can come of the comparison."""
        named = (self.registry, self.alpha, self.prior, self.calibration, self.report, self.json)
        asked = self.same_source or self.exit_code or self.reveal
        alone = self.compares and self.output_dir is None
        return asked or alone or any(value is not None for value in named)


BitAccuracy = Annotated[float, Bounds(gt=0.5, le=1)]
Level = Annotated[float, Bounds(gt=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class PowerSettings(Settings):
    """Fingerprint, test and wanted power.

    Args:
        bits: Bits of the fingerprint.
        accuracies: Bit accuracies: the rows.
        levels: Levels of the test: the columns. A level is the probability of a match by chance,
            over all fingerprints compared.
        registered: Also show the images needed among so many registered fingerprints.
        power: Probability that a fingerprint that is there is found.
        method: How bits are weighed: soft weighs the decoder's logits, majority counts bits.
        json: Write the table as JSON; "-" for standard output, all else then goes to stderr.
        csv: Write the table as CSV; "-" for standard output.
        plot: Draw power against images and images against accuracy: .png, .pdf or .svg.

    Example:
        >>> PowerSettings().command_line("artfp power")
        'artfp power'
    """

    title: ClassVar[str] = "question"

    bits: Annotated[int, Bounds(ge=1, le=512)] = 100
    accuracies: tuple[BitAccuracy, ...] = option(
        (0.51, 0.52, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9, 0.99), metavar="A,...", separator=","
    )
    levels: tuple[Level, ...] = option((1e-3, 1e-6, 1e-9), metavar="L,...", separator=",")
    registered: PositiveInt = option(1, metavar="N")
    power: Probability = 0.9
    method: Literal["soft", "majority"] = "soft"
    json: str | None = option(None, metavar="FILE", group="output")
    csv: str | None = option(None, metavar="FILE", group="output")
    plot: Path | None = option(None, metavar="FILE", group="output")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("accuracies", "levels"):
            if not getattr(self, name):
                raise UserError(f"--{name}: found none, expected at least one number")
            # Each once, in the order given.
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        if self.json == self.csv == STDOUT:
            raise UserError("--json and --csv: only one of them can go to standard output")
        if str(self.plot) == STDOUT:
            raise UserError("--plot: give a file")

    def tests(self) -> list[tuple[float, int]]:
        """Return (level, fingerprints) of each column: one fingerprint, then all registered."""
        counts = dict.fromkeys((1, self.registered))
        return [(level, count) for count in counts for level in self.levels]
