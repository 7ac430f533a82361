"""`artfp calibrate`: the bits that a decoder finds in clean images."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import numpy as np

from artfp.core.command import Command, count_images, report_unusable
from artfp.core.console import console, print_next_step
from artfp.core.errors import one_line
from artfp.data.tables import Column, rich_table
from artfp.watermark.settings import CalibrateSettings

if TYPE_CHECKING:
    from rich.table import Table

    from artfp.stats import Calibration

DESCRIPTION = """\
Decode clean images, in which no fingerprint is, and keep figures of the decoded bits in a file that
is tied to the decoder: how often each bit is 1, how far the bits depend on each other, and how
often the images pass for keys. artfp detect finds the file beside the decoder's and prints its
alarms.

The keys are test keys, drawn from the numbers 0, 1, ...: they are no secret, and stand for any key
that has nothing to do with the images. Over random keys the rate at which clean images pass is that
of the binomial distribution ("attained"), for every decoder; if the bounds exclude it, something in
the chain is wrong. For a single key it is not: biased and dependent bits spread the keys, and the
worst of them shows how far.

Take images like those that will be examined, a thousand or more, that the decoder was not trained
on. Bounds and alarms assume independent images: no copies, no frames of one film."""

EPILOG = """\
examples:
  artfp calibrate photos/ paintings.zip --decoder_path run/decoder.safetensors
      writes run/decoder_calibration.json, where artfp detect finds it
  artfp calibrate faces/ --max_images 2000 --output faces.json
      the shipped photo128 on images of another kind; give detect --calibration faces.json

A run that was stopped continues when the same command is given again.

exit codes: 0 no alarm, 1 an alarm (each is printed) or images that could not be used (each is
named)"""


def _calibrate(settings: CalibrateSettings) -> int:
    from artfp.stats import find_alarms
    from artfp.watermark.calibrate import calibrate_folder

    result = calibrate_folder(settings)
    if result is None:
        return 0
    console().print(health_table(result.calibration))
    console().print(false_alarm_table(result.calibration))
    found = find_alarms(result.calibration)
    for alarm in found:
        print(f"alarm: {alarm}")
    if not found:
        print("no alarm")
    output = one_line(str(result.output))
    print(f"{count_images(result.decoded)} decoded; calibration in {output}")
    words = ["--decoder_path", settings.decoder_path]
    words += [] if settings.output is None else ["--calibration", str(result.output)]
    print_next_step(f"artfp detect --data_dir IMAGES {one_line(shlex.join(words))} --key KEY_FILE")
    return max(report_unusable(result.failed), int(bool(found)))


def health_table(found: Calibration) -> Table:
    """Return a table of the bias and dependence of the bits, and the dispersion over the keys."""
    from artfp.stats.decoder_health import count_uneven_bits

    ones = [bias.ones for bias in found.biases]
    dependence = found.dependence
    rows = [
        ("clean images", str(found.images), ""),
        ("fraction of 1 in a bit", f"{min(ones):.3f} to {max(ones):.3f}", "0.5"),
        ("bits significantly off 0.5", f"{count_uneven_bits(found)} of {found.bits}", "0"),
        ("bits that never change", str(dependence.constant), "0"),
        ("effective bits", f"{dependence.effective_bits:.1f}", str(found.bits)),
    ]
    if found.keys:
        spread = [key.dispersion for key in found.keys]
        low, median, high = min(spread), float(np.median(spread)), max(spread)
        text = f"{median:.2f}, from {low:.2f} to {high:.2f} over {len(spread)} keys"
        rows.append(("dispersion, median", text, "1"))
    return rich_table(rows, ["figure", "found", "a fair decoder"], boxed=True)


def false_alarm_table(found: Calibration) -> Table:
    """Return a table with the images that pass at each level, over all keys and for the worst."""
    from artfp.stats import clopper_pearson
    from artfp.stats.decoder_health import pooled_rates

    headings: tuple[str, ...] = (
        "level",
        "matches",
        "attained",
        "passed, all keys",
        "rate",
        "95% bounds",
    )
    headings += ("worst key", "its rate at most")
    rows = [
        (
            f"{rate.level:g}",
            f"{rate.threshold} of {found.bits}",
            f"{rate.attained:.2g}",
            f"{rate.hits} of {rate.tests}",
            f"{rate.rate:.2g}",
            f"{rate.lower:.2g} to {rate.upper:.2g}",
            f"{rate.worst} of {found.images}",
            f"{float(clopper_pearson(rate.worst, found.images)[1]):.2g}",
        )
        for rate in pooled_rates(found)
    ]
    return rich_table(rows, [Column(each, align="right") for each in headings], boxed=True)


COMMAND = Command(CalibrateSettings, _calibrate, DESCRIPTION, EPILOG)
