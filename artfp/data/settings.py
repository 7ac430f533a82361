"""Settings of images that are read, shared by commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from artfp.core.options import PositiveInt, option
from artfp.core.settings import Settings

if TYPE_CHECKING:
    from artfp.data.geometry import Geometry


@dataclass(frozen=True, kw_only=True)
class GeometrySettings(Settings):
    """Crop and size of the images that are read.

    Args:
        image_resolution: Cut the centre square of each image and resize it to this side in pixels;
            by default images keep size and shape.
        use_celeba_preprocessing: Cut the middle 148 x 148 of aligned CelebA images and resize to
            128, as published.
    """

    title: ClassVar[str] = "images"

    image_resolution: PositiveInt | None = None
    use_celeba_preprocessing: bool = False

    @property
    def geometry(self) -> Geometry:
        """Crop and resize as a function of pixels."""
        from artfp.data.geometry import Geometry

        return Geometry(self.image_resolution, self.use_celeba_preprocessing)


@dataclass(frozen=True, kw_only=True)
class ImageSettings(GeometrySettings):
    """Images that are read.

    Args:
        data_dir: Images: a folder (at any depth), a zip, one image, or a list of paths (.txt).
        follow_links: Follow symbolic links that lead out of the folder; by default they are left
            out and counted, so that no private picture comes into what is given away.
    """

    data_dir: str = option(metavar="IMAGES")
    follow_links: bool = False
