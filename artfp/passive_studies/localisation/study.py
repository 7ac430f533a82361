"""Localisation of regions that lack the residual fingerprint of their source."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from artfp import __version__
from artfp.core.run_folder import exclusive
from artfp.data.content import source_digest
from artfp.data.files import write_atomic
from artfp.data.naming import output_names
from artfp.data.reading import Failed
from artfp.data.resume import Manifest
from artfp.data.sources import open_source
from artfp.data.tables import csv_table
from artfp.passive.attributors.mean_residual import read_mean_residual
from artfp.passive_studies.localisation.report import (
    WINDOW_COLUMNS,
    image_record,
    plot_heat_map,
    window_rows,
)
from artfp.passive_studies.localisation.settings import LocaliseSettings
from artfp.passive_studies.localisation.windows import LocalisedImage, heat_maps


@dataclass(frozen=True)
class Localisation:
    """Results of `localise_splices`.

    Args:
        images: Summary of each image that could be used.
        failed: Images that could not be used, with the reasons.

    Example:
        >>> Localisation((), []).failed
        []
    """

    images: tuple[LocalisedImage, ...]
    failed: Failed


@exclusive
def localise_splices(settings: LocaliseSettings) -> Localisation:
    """Find where images lack the residual fingerprint of their source.

    A spliced region comes from elsewhere, so its noise residual does not correlate with the
    fingerprint (Lukas, Fridrich and Goljan 2006; Chen et al. 2008, there with a camera's PRNU).
    Heat maps, windows.csv and localise.json are written into the output folder.

    Args:
        settings: Images, residual fingerprint, window side in pixels, and the output folder.

    Returns:
        Correlation and lowest window of each image; images that could not be used.

    Raises:
        UserError: no image can be used, no such fingerprint, or a window that does not fit.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from PIL import Image
        >>> from artfp.passive.residuals import ResidualFingerprintSettings
        >>> from artfp.passive.residuals import make_residual_fingerprint
        >>> folder = tempfile.mkdtemp()
        >>> pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
        >>> Image.fromarray(pixels).save(f"{folder}/noise.png")
        >>> path = f"{folder}/camera.safetensors"
        >>> _ = make_residual_fingerprint(
        ...     ResidualFingerprintSettings(data_dir=folder, output=path, cuda=-1)
        ... )
        >>> found = localise_splices(LocaliseSettings(
        ...     data_dir=f"{folder}/noise.png", residual_fingerprint=path,
        ...     output_dir=f"{folder}/out", cuda=-1,
        ... ))
        >>> [(image.name, image.window, round(image.correlation, 2)) for image in found.images]
        [('noise.png', 8, 1.0)]
    """
    source = open_source(settings.data_dir)
    fingerprint = read_mean_residual(settings.residual_fingerprint, settings.source)
    output, threshold = settings.output_dir, settings.threshold
    Manifest.claim(output, {"data_sha256": source_digest(source)}, "localise")
    failed: Failed = []
    pictures = dict(zip(source.names, output_names(source.names, ".png"), strict=True))
    rows: list[tuple[object, ...]] = []
    images: list[LocalisedImage] = []
    for image in heat_maps(source, fingerprint, failed, settings.window, settings.torch_device()):
        picture = plot_heat_map(image, fingerprint.source, threshold)
        write_atomic(output / "heatmaps" / pictures[image.name], picture)
        rows += window_rows(image)
        images.append(image.summary(threshold))
    record: dict[str, Any] = {
        "software": f"artfp {__version__}",
        "fingerprint": {
            "source": fingerprint.source,
            "extractor": fingerprint.extractor.text,
            "size": list(fingerprint.size),
        },
        "window": images[0].window,
        "threshold": threshold,
        "images": [image_record(image) for image in images],
    }
    write_atomic(output / "windows.csv", csv_table(rows, WINDOW_COLUMNS))
    write_atomic(output / "localise.json", json.dumps(record, indent=1) + "\n")
    return Localisation(tuple(images), failed)
