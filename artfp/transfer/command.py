"""`artfp transfer`: transfer of a fingerprint through a generator."""

from __future__ import annotations

from artfp.core.command import Command, CommandGroup, Entry, report_unusable
from artfp.core.console import console, print_next_step
from artfp.core.errors import one_line
from artfp.transfer.settings import (
    DecodeGeneratedSettings,
    ForecastSettings,
    TransferStudySettings,
    TransferTableSettings,
)

EPILOG = """\
examples:
  artfp transfer study dcgan --data_dir cifar10/train --encoder_path transfer32 \\
      --output_dir study --quick
  artfp transfer study sngan --data_dir cifar10/train --encoder_path transfer32 \\
      --output_dir study --controls other,random
  artfp transfer read made/ --real cifar10/train --key owner.key.json --decoder_path transfer32
  artfp transfer predict cifar10/train --encoder_path transfer32
  artfp transfer table study_dcgan study_sngan --output table.md

exit codes: 0 done, 1 some images could not be used"""

STUDY_DESCRIPTION = """\
Fingerprint images, train a generator on them and one on the clean images from the same seed, and
decode what both make: bit accuracy of an image against steps of training, the verdict on 1, 10 and
100 images, and the distances of the images to the clean data.

writes into --output_dir:
  transfer.md, .csv, .json   the figures
  progress.png               bit accuracy against steps
  samples.png                images of the generators from the same inputs
  data/ training/ generated/ the stages, each of which can be run alone (--stages)
  fingerprint.key.json       the secret key, unless a fingerprint was given

An interrupted study goes on when the same command is given again; with more --max_steps it trains
on."""


def _study(settings: TransferStudySettings) -> int:
    from artfp.transfer.report import report
    from artfp.transfer.study import transfer_study

    result = transfer_study(settings)
    if "report" not in result.stages:
        return 0
    shown = report(result.study, settings.decoder_path, settings.distances, settings.realign)
    console().print(shown.table)
    for line in shown.lines:
        console().print(line, soft_wrap=True)
    print_next_step(f"artfp transfer table {one_line(str(settings.output_dir))} OTHER_STUDY")
    return 0


def _read(settings: DecodeGeneratedSettings) -> int:
    from artfp.transfer.report import decode_generated

    shown, failed = decode_generated(settings)
    console().print(shown.table)
    for line in shown.lines:
        console().print(line, soft_wrap=True)
    return report_unusable(failed)


def _predict(settings: ForecastSettings) -> int:
    from artfp.transfer.forecast import forecast_transfer

    result = forecast_transfer(settings)
    for line in result.lines():
        console().print(line, soft_wrap=True)
    return report_unusable(result.failed)


def _table(settings: TransferTableSettings) -> int:
    from artfp.data.files import write_atomic
    from artfp.transfer import table

    families = [table.read_family(str(study)) for study in settings.studies]
    if settings.output is not None:
        forms = {
            ".md": table.studies_markdown,
            ".csv": table.studies_csv,
            ".json": table.studies_json,
        }
        write_atomic(settings.output, forms[settings.output.suffix](families))
    console().print(table.studies_table(families))
    return 0


STUDY = Command(TransferStudySettings, _study, STUDY_DESCRIPTION)
READ = Command(
    DecodeGeneratedSettings,
    _read,
    "Decode images of a generator that was trained elsewhere: bit accuracy of an image, and the\n"
    "verdict on 1, 10 and 100 of them; with --real their distance to the data.",
)
PREDICT = Command(
    ForecastSettings,
    _predict,
    "Forecast whether weights transfer, from what the residuals of one fingerprint have in\n"
    "common: that is what a generator learns first. Takes a minute and trains nothing.",
)
TABLE = Command(
    TransferTableSettings, _table, "Put several studies into one table: a row for each generator."
)

COMMAND = CommandGroup(
    "Measure whether a fingerprint in training images comes out of the generator trained on them.",
    {
        "study": Entry(
            "artfp.transfer.command:STUDY",
            "Fingerprint images, train a generator with and without, decode what they make",
        ),
        "read": Entry(
            "artfp.transfer.command:READ", "Decode images that a generator made elsewhere"
        ),
        "predict": Entry(
            "artfp.transfer.command:PREDICT",
            "Forecast in a minute, without a generator, whether weights will transfer",
        ),
        "table": Entry(
            "artfp.transfer.command:TABLE", "Put studies of several generators into one table"
        ),
    },
    EPILOG,
)
