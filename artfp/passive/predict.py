"""Attribution of images to the sources that an attributor knows: of each, and of all together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from artfp.core.errors import UserError
from artfp.core.progress import Progress
from artfp.data.files import write_atomic
from artfp.data.image_files import ImageError
from artfp.data.pixels import to_unit
from artfp.data.reading import Failed, batch_images, read_images, stack_pixels
from artfp.data.sources import ImageSource, open_source
from artfp.passive.attributors.bundle import FittedAttributor, load_attributor
from artfp.passive.attributors.score_model import Values
from artfp.passive.attributors.verdicts import (
    GroupPrediction,
    SourcePrediction,
    predict_group,
    predict_images,
)
from artfp.passive.attributors.window import central_window
from artfp.passive.settings import STANDARD_OUTPUT, PredictSourcesSettings

if TYPE_CHECKING:
    from artfp.passive.visnet_report import ImageEvidence

_BATCH_PIXELS = 1 << 18
_MAX_BATCH = 256


@dataclass(frozen=True)
class AttributedImages:
    """Predictions for the images of a source.

    Attributes:
        names: Names of the N images that can be used.
        sizes: Their (height, width).
        vectors: (N, D) score vectors.
        predictions: Prediction for each.
        failed: Other images, with the reasons.
    """

    names: list[str]
    sizes: list[tuple[int, int]]
    vectors: Values
    predictions: list[SourcePrediction]
    failed: Failed


@dataclass(frozen=True)
class AttributionResult:
    """Attribution of a set of images.

    Attributes:
        attributor: The attributor that was used.
        images_of: Name of the set of images.
        images: Prediction for each image.
        group: Prediction for all images together, if that was asked for.
        pictures: Names of the files in the folder of pictures, if there is one.

    Example:
        >>> prediction = SourcePrediction("dcgan", 4.2, 0.97, 0.31, "source")
        >>> images = AttributedImages(["a.png"], [(8, 8)], np.zeros((1, 2)), [prediction], [])
        >>> print(AttributionResult(None, "photos", images, None).to_csv().splitlines()[1])
        a.png,8,8,dcgan,4.2,0.97,0.31,source,
    """

    attributor: FittedAttributor
    images_of: str
    images: AttributedImages
    group: GroupPrediction | None
    pictures: tuple[str, ...] = ()

    def to_csv(self) -> str:
        """Return a line of CSV for each image, under a line of headings."""
        from artfp.passive.prediction_table import predictions_csv

        return predictions_csv(self.images)

    def to_json(self) -> str:
        """Return attributor, images and predictions as JSON text."""
        import json

        from artfp.passive.prediction_table import predictions_json

        attributor = self.attributor
        about = {
            "images_of": self.images_of,
            "attributor": attributor.name,
            "sources": list(attributor.sources),
            "policy": attributor.policy.describe(),
            "alpha": attributor.rule.alpha,
            "confidence": attributor.rule.confidence,
        }
        return json.dumps(predictions_json(self.images, self.group, about), indent=1) + "\n"


def predict_sources(settings: PredictSourcesSettings) -> AttributionResult:
    """Attribute images to the sources of an attributor.

    Args:
        settings: Images, attributor, device, and files to write.

    Returns:
        Predictions; those that settings name a file for are also written there.

    Raises:
        UserError: no attributor, or no image that can be used; or pictures of an attributor that
            has none.

    Example:
        >>> from artfp.passive import FitBaselineSettings, fit_baseline_attributor
        >>> import tempfile
        >>> import numpy as np
        >>> from PIL import Image
        >>> folder, rng = Path(tempfile.mkdtemp()), np.random.default_rng(0)
        >>> for name, level in (("bright", 180), ("dark", 60)):
        ...     (folder / "sources" / name).mkdir(parents=True)
        ...     for number in range(40):
        ...         pixels = (level + 9 * rng.standard_normal((8, 8, 3))).astype(np.uint8)
        ...         Image.fromarray(pixels).save(folder / "sources" / name / f"{number}.png")
        >>> attributor = folder / "attributor"
        >>> fitted = fit_baseline_attributor(FitBaselineSettings(
        ...     data_dir=folder / "sources", output_dir=attributor, kind="nearest", cuda=-1))
        >>> photo = folder / "photo.png"
        >>> Image.new("RGB", (8, 8), (62, 62, 62)).save(photo)
        >>> settings = PredictSourcesSettings(data_dir=str(photo), attributor=attributor, cuda=-1)
        >>> [each.source for each in predict_sources(settings).images.predictions]
        ['dark']
    """
    attributor = load_attributor(settings.attributor)
    source = open_source(settings.data_dir)
    evidence = None
    if settings.pictures is not None:
        from artfp.passive.visnet_report import ImageEvidence

        evidence = ImageEvidence(attributor, source, settings.pictures)
    images = attribute_images(attributor, source, settings.torch_device(), evidence)
    group = attribute_group(attributor, images.vectors) if settings.same_source else None
    pictures = () if evidence is None else tuple(evidence.finish())
    found = AttributionResult(attributor, Path(settings.data_dir).name, images, group, pictures)
    for path, text in ((settings.json, found.to_json), (settings.csv, found.to_csv)):
        if path is not None and path != STANDARD_OUTPUT:
            write_atomic(Path(path), text())
    return found


def attribute_images(
    attributor: FittedAttributor,
    source: ImageSource,
    device: torch.device | str = "cpu",
    evidence: ImageEvidence | None = None,
) -> AttributedImages:
    """Attribute every image by itself. Images that the attributor's policy refuses fail.

    With `evidence` pictures of every image are written. Raises UserError: no image can be used.
    """
    window = attributor.policy.window

    def crop(pixels: np.ndarray) -> np.ndarray:
        if reason := attributor.policy.refuses(*pixels.shape[:2]):
            raise ImageError(reason)
        return central_window(pixels, window, (0, 1))

    failed: Failed = []
    names: list[str] = []
    sizes: list[tuple[int, int]] = []
    vectors = []
    with Progress("Attributing", len(source)) as progress:
        images = read_images(source, failed, prepare=crop, progress=progress, orientation=False)
        for batch in batch_images(images, _MAX_BATCH, _BATCH_PIXELS):
            x = to_unit(stack_pixels([image.pixels for image in batch])).to(device)
            vectors.append(attributor.score_vectors(x))
            if evidence is not None:
                evidence.add([image.name for image in batch], attributor.policy.crop(x))
            names += [image.name for image in batch]
            sizes += [image.size for image in batch]
    if not names:
        reason = f"; the first: {failed[0][0]}: {failed[0][1]}" if failed else ""
        raise UserError(f"{source.location}: none of {len(source)} images can be used{reason}")
    scores = np.concatenate(vectors)
    log_likelihoods, p_values = attributor.log_likelihoods(scores), attributor.p_values(scores)
    predictions = predict_images(log_likelihoods, p_values, attributor.sources, attributor.rule)
    return AttributedImages(names, sizes, scores, predictions, failed)


def attribute_group(attributor: FittedAttributor, vectors: Values) -> GroupPrediction:
    """Attribute images with score vectors (N, D) together, as images of one source."""
    log_likelihoods, p_values = attributor.log_likelihoods(vectors), attributor.p_values(vectors)
    return predict_group(
        log_likelihoods, p_values, attributor.sources, attributor.rule, attributor.model.images
    )
