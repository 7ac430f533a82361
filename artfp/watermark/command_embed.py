"""`artfp embed` and `embed_fingerprints.py`: fingerprint a data set."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

from artfp.core.command import Command, count_images, report_unusable
from artfp.core.console import print_next_step
from artfp.core.errors import one_line
from artfp.watermark.settings import FINGERPRINTED_FOLDER, EmbedSettings

_READABLE = 0.6
"""Bit accuracy of --check under which the fingerprint is as good as lost; chance gives 0.5."""

if TYPE_CHECKING:
    from artfp.watermark.embed_run import EmbeddingResult

DESCRIPTION = """\
Embed a fingerprint in every image of a data set.

Writes OUTPUT_DIR/fingerprinted_images/ with the tree and names of the input (PNG), ready for any
generative model's code; embedded_fingerprints.txt (a line "name bits" each) and .csv (size, PSNR,
bits). A run that was stopped continues when the same command is given again; images that have
changed are done again, and copies of those that are gone are removed.

The fingerprint: --key or --fingerprint_file name one; --identical_fingerprints draws a fresh key
for one fingerprint in all images, which is what a generator learns; with none of these, every image
gets a random fingerprint of its own, which no generator learns.

A key gives one fingerprint by itself and another for each owner and subject. artfp keygen --commit
and artfp registry add take the latter: give --owner and --subject here as you give them there, or
give --bare there. Otherwise what is registered is not what is in the images."""

EPILOG = """\
examples:
  artfp embed --data_dir photos/ --output_dir out --identical_fingerprints
  artfp embed --data_dir data.zip --output_dir out --key owner.key.json --archive
  artfp embed --data_dir cats/ --output_dir out --key owner.key.json \\
      --owner "Ada Lovelace" --subject "cats v1"
  artfp embed --encoder_path cifar32 --data_dir cifar/ --output_dir out \\
      --image_resolution 32 --identical_fingerprints --check

exit codes: 0 all images done, 1 some could not be used (each is named), or --check reads at chance.
In a YAML file for --config write a fingerprint of digits in quotes."""


def _embed(settings: EmbedSettings) -> int:
    from artfp.data.sources import open_source

    open_source(
        settings.data_dir, settings.follow_links
    )  # refuse what is not there before torch is imported

    from artfp.metrics.visibility_summary import describe_visibility
    from artfp.watermark.embed import embed_folder

    result = embed_folder(settings)
    if result is None:
        return 0
    print(_summary(result, one_line(str(settings.output_dir))))
    if result.checked is not None:
        print(
            f"read back from the files: bit accuracy {result.checked['bit_accuracy']:.4f}, "
            f"PSNR {result.checked['psnr']:.2f} dB, SSIM {result.checked['ssim']:.4f}"
        )
        print(describe_visibility(result.checked, one_line(result.most_visible)))
    if result.written:
        _print_next_step(settings)
    code = report_unusable(result.failed)
    if result.checked is not None and result.checked["bit_accuracy"] < _READABLE:
        print(
            "the files are read back hardly better than by chance (0.5); take other weights, or a "
            "higher --strength",
            file=sys.stderr,
        )
        return 1
    return code


def _summary(result: EmbeddingResult, folder: str) -> str:
    if result.written and result.before == result.written and not result.failed:
        return f"nothing to do: {count_images(result.written)} fingerprinted before, in {folder}"
    before = f" ({result.before} of them before)" if result.before else ""
    return f"{count_images(result.written)} fingerprinted{before}, in {folder}"


def _print_next_step(settings: EmbedSettings) -> None:
    """Say how the fingerprint comes into a generator and out again."""
    from artfp.data.bundle import find_decoder
    from artfp.ownership.assignment import KEY_FILE

    if settings.has_bits:
        named = ["--fingerprint_file", settings.fingerprint_file or "FILE"]
    elif settings.key is not None or settings.identical_fingerprints:
        named = ["--key", str(settings.key or settings.output_dir / KEY_FILE)]
        if settings.owner is not None and settings.subject is not None:
            named += ["--owner", settings.owner, "--subject", settings.subject]
    else:
        return  # a fingerprint in each image: nothing for a generator to learn
    decoder = settings.decoder_path or str(find_decoder(settings.encoder_path))
    words = ["artfp", "detect", "--data_dir", "GENERATED", "--output_dir", "DETECTED"]
    words += [] if decoder == "photo128" else ["--decoder_path", decoder]
    folder = one_line(shlex.quote(str(settings.output_dir / FINGERPRINTED_FOLDER)))
    print_next_step(
        f"train your generator on {folder}, then {one_line(shlex.join([*words, *named]))}"
    )


COMMAND = Command(EmbedSettings, _embed, DESCRIPTION, EPILOG)
