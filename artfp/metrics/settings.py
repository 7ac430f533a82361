"""Settings of measuring how far sets of images are apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from artfp.core.device import DeviceSettings
from artfp.core.errors import UserError
from artfp.core.options import Bounds, NonNegativeInt, PositiveInt, Probability, option

_STDOUT = "-"


@dataclass(frozen=True, kw_only=True)
class DistanceSettings(DeviceSettings):
    """Sets of images, features and results of a comparison.

    Args:
        data_dir: Two sets of images, A and B: the real ones, then those to compare with them; each
            a folder (at any depth), a zip, or a list of paths (.txt).
        versus: Other images C, to compare their distance with that of B.
        image_resolution: Cut the centre square of each image and resize it to this side in pixels,
            as training a generator does; images of this size are not changed.
        limit: Images of each set, at most, the first by name.
        confidence: Confidence level of the intervals.
        inception_weights: Weights of torch-fidelity's Inception-v3, for published FID and KID.
        json: File for the results as JSON; - for standard output.
        csv: File for the results as CSV; - for standard output.
        batch_size: Images that the network sees at once.
        num_workers: Loader processes; by default as many as CPUs.

    Example:
        >>> DistanceSettings(data_dir=("photos", "generated"), versus="others").places
        ('photos', 'generated', 'others')
    """

    title: ClassVar[str] = "distance"

    data_dir: tuple[str, ...] = option(metavar="IMAGES", positional=True)
    versus: str | None = option(None, metavar="IMAGES")
    image_resolution: PositiveInt | None = None
    limit: Annotated[int, Bounds(ge=2)] | None = None
    confidence: Probability = 0.95
    inception_weights: str | None = option(None, metavar="FILE.pth")
    json: str | None = option(None, metavar="FILE")
    csv: str | None = option(None, metavar="FILE")
    batch_size: PositiveInt = 32
    num_workers: NonNegativeInt | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.data_dir) != 2:
            raise UserError(f"expected two sets of images, A and B; found {len(self.data_dir)}")
        if self.json == self.csv == _STDOUT:
            raise UserError("--json and --csv: only one of them can go to standard output")

    @property
    def prints_data(self) -> bool:
        """True if JSON or CSV go to standard output."""
        return _STDOUT in (self.json, self.csv)

    @property
    def places(self) -> tuple[str, ...]:
        """Sets A, B, and C if there is one."""
        return self.data_dir if self.versus is None else (*self.data_dir, self.versus)
