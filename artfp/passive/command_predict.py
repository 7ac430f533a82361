"""`artfp attribute predict` and `artfp attribute report`."""

from __future__ import annotations

from artfp.core.command import Command, count_images, report_unusable
from artfp.core.console import console
from artfp.core.errors import one_line
from artfp.passive.settings import STANDARD_OUTPUT, AssessAttributorSettings, PredictSourcesSettings

_PREDICT = """\
Attribute images to the sources of an attributor. IMAGES is a folder, a zip, an image, or a list of
paths (.txt).

Each image gets its likeliest source; the natural logarithm of the likelihood ratio of that source
against the mean of the others, limited to what the held-out images can show; the posterior
probability, if one of the known sources is the true one and all are equally likely beforehand; and
a p-value, the fraction of that source's own images that fit it as badly. The verdict is "none of
these" where the p-value is at most the attributor's alpha, else the source where the posterior is
at least its confidence, else "undecided".

With --same_source all images come from one source, and are attributed together as well.

With --pictures an attributor of artfp attribute visnet shows why, for every image: its fingerprint,
which is what the autoencoder does not reconstruct, and its responses, which are the contribution of
each pixel to the score of each source."""

_PREDICT_EPILOG = """\
examples:
  artfp attribute predict photo.jpg
  artfp attribute predict suspects.zip --attributor runs/dumps --same_source
  artfp attribute predict fake.png --json -
  artfp attribute predict fake.png --attributor visnet --pictures shown

writes into --pictures:
  images/                 of each image: fingerprint, about gray with the factor below; responses
  pictures.csv            scores of each image by source: the sums of the responses
  model_fingerprints.png  fingerprints of the sources

exit codes: 0 done, 1 some images could not be used (each is named)"""

_REPORT = """\
Assess an attributor on labelled images. FOLDER has one subfolder for each source. Those that have
the name of a source of the attributor hold its images: how often that is the likeliest source, how
often a verdict names it or another, and AUCs of every pair of sources and of each source against
all other images. Other subfolders hold images of unknown sources, such as real images or another
generator's: how often they are rejected ("none of these").

Images that the attributor was fitted to give better results than others: take other images, best
without content that the fitted ones had."""

_REPORT_EPILOG = """\
examples:
  artfp attribute report labelled/
  artfp attribute report labelled/ --attributor runs/dumps --output_dir runs/dumps_report

writes into --output_dir: report.md, report.json, confusion.png, roc.png

exit codes: 0 done, 1 some images could not be used (each is named)"""


def _predict(settings: PredictSourcesSettings) -> int:
    from artfp.passive import prediction_table as report
    from artfp.passive.predict import predict_sources

    found = predict_sources(settings)
    images, files = found.images, (settings.json, settings.csv)
    shown = console(stderr=STANDARD_OUTPUT in files)
    shown.print(report.predictions_table(images), soft_wrap=True)
    if len(images.names) > report.SHOWN_IMAGES:
        shown.print(f"... and {len(images.names) - report.SHOWN_IMAGES} more (--csv has all)")
    verdicts = report.count_verdicts(images).items()
    counts = ", ".join(f"{one_line(verdict)} {number}" for verdict, number in verdicts)
    lines = [f"{count_images(len(images.names))}: {counts}"]
    if found.group is not None:
        lines.append(one_line(report.describe_group(found.group, found.attributor.rule)))
    lines += [f"wrote {one_line(path)}" for path in files if path not in (None, STANDARD_OUTPUT)]
    if settings.pictures is not None:
        pictures = sum("/" in name for name in found.pictures)
        others = ", ".join(name for name in found.pictures if "/" not in name)
        folder = one_line(str(settings.pictures))
        lines.append(f"wrote pictures of {count_images(pictures)}, {others} into {folder}")
    for line in lines:
        shown.print(line, soft_wrap=True, markup=False)
    for path, text in ((settings.json, found.to_json), (settings.csv, found.to_csv)):
        if path == STANDARD_OUTPUT:
            print(text(), end="")
    return report_unusable(images.failed)


def _report(settings: AssessAttributorSettings) -> int:
    from artfp.passive.report import assess_attributor, assessment_table

    found = assess_attributor(settings)
    console().print(assessment_table(found.assessment))
    print(f"accuracy of the likeliest source: {found.assessment.mean_accuracy:.2%}")
    print(f"wrote {', '.join(found.files)} into {one_line(str(settings.output_dir))}")
    return report_unusable(found.failed)


COMMAND = Command(PredictSourcesSettings, _predict, _PREDICT, _PREDICT_EPILOG)
REPORT = Command(AssessAttributorSettings, _report, _REPORT, _REPORT_EPILOG)
