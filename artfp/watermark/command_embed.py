"""`artfp embed` and `embed_fingerprints.py`: fingerprint a data set."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artfp.core.command import count_images, report_unusable
from artfp.core.common import add_run_options, add_source_options, check_bits
from artfp.core.console import prepare_terminal
from artfp.core.device_options import trainer_options
from artfp.core.errors import UserError, one_line
from artfp.core.legacy import make_parser
from artfp.core.processes import await_first, first_process

DESCRIPTION = """\
Embed a fingerprint in every image of a data set.

Writes OUTPUT_DIR/fingerprinted_images/ with the tree and names of the input (PNG), ready for any
generative model's code; embedded_fingerprints.txt (a line "name bits" each) and .csv (size, PSNR,
bits). A run that was stopped goes on where it was when the same command is given again.

Which fingerprint: --fingerprint or --key name one; --identical_fingerprints draws a fresh key for
one fingerprint in all images, which is what a generator takes over; with none of these, every
image gets a random fingerprint of its own, which no generator takes over.

A key gives one fingerprint by itself and another for each owner and subject. artfp keygen --commit
and artfp registry add take the latter: give --owner and --subject here as you give them there, or
give --bare there. Otherwise what is registered is not what is in the images."""

EPILOG = """\
examples:
  embed_fingerprints.py --data_dir photos/ --output_dir out --identical_fingerprints
  embed_fingerprints.py --data_dir data.zip --output_dir out --key owner.key.json --archive
  embed_fingerprints.py --data_dir cats/ --output_dir out --key owner.key.json \\
      --owner "Ada Lovelace" --subject "cats v1"
  embed_fingerprints.py --encoder_path cifar32 --data_dir cifar/ --output_dir out \\
      --image_resolution 32 --identical_fingerprints --check

exit codes: 0 all images done, 1 some could not be used (each is named), 2 bad input,
130 interrupted. In a YAML file for --config write a fingerprint of digits in quotes."""


def _parser() -> Any:
    parser = make_parser("embed_fingerprints.py", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add(
        "--encoder_path",
        default="photo128",
        help="Encoder: a shipped name (photo128, cifar32, transfer32), a .safetensors file, or "
        "a .pth published by the ArtFP authors.",
    )
    add_source_options(parser, "Images to fingerprint")
    add(
        "--identical_fingerprints",
        action="store_true",
        help="Draw a fresh secret key for one fingerprint in all images; it is kept in "
        "OUTPUT_DIR/fingerprint.key.json, readable by its owner alone.",
    )
    add(
        "--seed",
        type=int | None,
        default=None,
        help="Take the key from a number, for experiments that others repeat. It is no secret.",
    )
    add("--strength", type=float, default=1.0, help="Factor on the residual; 1 is as trained.")
    add(
        "--min_psnr",
        type=float,
        default=0.0,
        help="Decibels that no image may fall under: residuals of images in which bits are hard "
        "to read are weakened to it, at the price of robustness; 0: no limit.",
    )
    add("--format", default="png", help="png, webp (lossless), bmp, tiff, or jpeg (lossy).")
    add("--archive", action="store_true", help="Also pack the images as fingerprinted_images.zip.")
    add(
        "--check",
        action="store_true",
        help="Read the written files back and report bit accuracy, PSNR and SSIM.",
    )
    add("--decoder_path", type=str | None, default=None, help="Decoder for --check.")
    add_run_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    args = _parser().parse_args(argv)
    prepare_terminal()
    from artfp.data import Geometry, open_source

    source = open_source(args.data_dir)
    geometry = Geometry(args.image_resolution, args.use_celeba_preprocessing)

    from artfp.data.bundle import find_decoder, find_weights
    from artfp.data.files import file_hash
    from artfp.watermark import load_decoder, load_encoder
    from artfp.watermark.embed import EmbeddingJob, check_embedding, run_embedding
    from artfp.watermark.prediction_loop import make_trainer

    output = Path(args.output_dir)
    encoder, card = load_encoder(args.encoder_path, args.image_resolution)
    check_bits(args.fingerprint_size, card["bits"], args.encoder_path)
    decoder = None
    if args.check:
        decoder, decoder_card = load_decoder(args.decoder_path or find_decoder(args.encoder_path))
        if decoder_card["bits"] != card["bits"]:
            raise UserError(
                f"the encoder has {card['bits']} bits and the decoder {decoder_card['bits']}; "
                "give --decoder_path the decoder that was trained with the encoder"
            )
    job = EmbeddingJob(
        source=source,
        output=output,
        encoder=encoder,
        encoder_hash=file_hash(find_weights(args.encoder_path, "encoder")),
        trainer=make_trainer(**trainer_options(args)),
        geometry=geometry,
        format=args.format,
        strength=args.strength,
        min_psnr=args.min_psnr,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        archive=args.archive,
    )
    result = run_embedding(job, _words(args, card["bits"], output))
    if result is None:
        return 0
    print(_summary(result, output))
    if decoder is not None and result.written:
        figures = check_embedding(job, decoder)
        print(
            f"read back from the files: bit accuracy {figures['bit_accuracy']:.4f}, "
            f"PSNR {figures['psnr']:.2f} dB, SSIM {figures['ssim']:.4f}"
        )
    return report_unusable(result.failed)


def _summary(result: Any, output: Path) -> str:
    """What was done, in one line."""
    where = one_line(str(output))
    if result.written and result.before == result.written and not result.failed:
        return f"nothing to do: {count_images(result.written)} fingerprinted before, in {where}"
    before = f" ({result.before} of them before)" if result.before else ""
    return f"{count_images(result.written)} fingerprinted{before}, in {where}"


def _words(args: Any, bits: int, output: Path) -> Any:
    """The fingerprints that the arguments ask for; says what they are good for."""
    from artfp.ownership.assignment import (
        KEY_FILE,
        draw_fingerprints,
        given_fingerprints,
        owner_context,
    )

    given = given_fingerprints(bits, args.fingerprint, args.key, args.owner, args.subject)
    if given is not None:
        if args.identical_fingerprints or args.seed is not None:
            raise UserError(
                "--fingerprint and --key name the fingerprint; leave out "
                "--identical_fingerprints and --seed"
            )
        return given
    context = owner_context(args.owner, args.subject)
    if context and not args.identical_fingerprints:
        raise UserError(
            "--owner and --subject name one fingerprint; give --key or --identical_fingerprints"
        )
    await_first(output / KEY_FILE)
    words = draw_fingerprints(bits, output, not args.identical_fingerprints, args.seed, context)
    if first_process():
        say = logging.getLogger("artfp").warning
        if args.seed is not None:
            say("--seed: this fingerprint is no secret; whoever knows the number has it")
        if not args.identical_fingerprints:
            say(
                "every image gets a random fingerprint of its own; such fingerprints do not "
                "transfer to a generator (--identical_fingerprints makes one for all)"
            )
        say(f"the key is in {one_line(str(output / KEY_FILE))}; keep it secret and keep it safe")
    return words
