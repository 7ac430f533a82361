"""`artfp detect` and `detect_fingerprints.py`: decode images, compare with fingerprints, decide."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from artfp.audit.settings import STDOUT, DetectSettings
from artfp.core.command import Command, count_images, report_unusable
from artfp.core.console import console, print_next_step
from artfp.core.errors import one_line

if TYPE_CHECKING:
    from artfp.audit.detection import DetectionResult

DESCRIPTION = """\
Decode the fingerprint of every image, and compare it with one that you name, or with a registry.

Images of any size are resized to the decoder's resolution. With --output_dir the results are
written to detected_fingerprints.txt (a line "name bits" each) and .csv; with a fingerprint or key
also the matches, the bit accuracy and the one-sided binomial p-value: the probability that as many
bits or more match a secret random fingerprint that has nothing to do with the image. What was
embedded with --owner and --subject is found with them.

--registry compares with all fingerprints in a registry. It, --same_source, --report, --json and
--exit-code give a verdict: match, no match or inconclusive. So does any comparison without
--output_dir. The verdict's p-value is corrected for the number of fingerprints compared and, unless
the images are of the --same_source, for the number of images; that of a single image in the table
and the report for the number of fingerprints alone. With nothing to compare with there is no
verdict: the decoded bits are printed."""

EPILOG = """\
examples:
  artfp detect photo.jpg --key owner.key.json --owner "Ada Lovelace" --subject "cats v1"
  artfp detect fake.png --decoder_path cifar32 --fingerprint_file fingerprint.txt
  artfp detect suspects/ --output_dir out --registry my.registry --same_source \\
      --report out/report.html --json -

exit codes: 0 done, 1 some images could not be used (each is named); with --exit-code 0 match,
1 no match, 3 inconclusive (also where no image could be used).
In a YAML file for --config write a fingerprint of digits in quotes."""

_CODES = {"match": 0, "no match": 1, "inconclusive": 3}


def _detect(settings: DetectSettings) -> int:
    from artfp.audit.detection import detect_folder

    result = detect_folder(settings)
    if result is None:
        return 0
    _print(result, settings)
    code = report_unusable(result.failed)
    print_next_step(_next_step(settings))
    if not settings.exit_code:
        return code
    return _CODES["inconclusive" if result.verdict is None else result.verdict.outcome]


def _print(result: DetectionResult, settings: DetectSettings) -> None:
    """Print the verdict as a table and in words, or the matches, or the decoded bits."""
    from artfp.audit.console import explain_verdict, matches_table, verdict_table

    piped = settings.json == STDOUT
    out = sys.stderr if piped else sys.stdout
    if settings.output_dir is not None:
        where = one_line(str(settings.output_dir))
        print(f"{count_images(len(result.images))} decoded, in {where}", file=out)
    if result.report is not None:
        if piped:
            from artfp.audit.auditor import report_json

            print(report_json(result.report))
        console(stderr=piped).print(verdict_table(result.report))
        print(explain_verdict(result.report), file=out)
        for what, path in (("report", settings.report), ("JSON", settings.json)):
            if path not in (None, STDOUT):
                print(f"{what} in {one_line(str(path))}", file=out)
    elif result.matches is not None and len(result.matches):
        console().print(matches_table(result.matches, result.bits))
    elif settings.output_dir is None:
        from artfp.ownership.key import to_text

        for image in result.images:
            print(f"{one_line(image.name)} {to_text(image.bits)}")
        print(
            "no verdict: there is nothing to compare with; give --registry, --key or "
            "--fingerprint_file",
            file=sys.stderr,
        )


def _next_step(settings: DetectSettings) -> str:
    images = one_line(settings.data_dir)
    if not settings.compares:
        return f"artfp detect {images} --key owner.key.json --owner NAME --subject NAME"
    if settings.report is None:
        return "with --report report.html too, for one page with all that a verdict rests on"
    return f"open {one_line(str(settings.report))} in a browser"


COMMAND = Command(DetectSettings, _detect, DESCRIPTION, EPILOG)
