"""`artfp calibrate`: what a decoder says of clean images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artfp.core.command import count_images, report_unusable
from artfp.core.common import add_decoder_option, add_run_options
from artfp.core.console import console, prepare_terminal
from artfp.core.device_options import trainer_options
from artfp.core.errors import UserError, one_line
from artfp.core.legacy import make_parser

DESCRIPTION = """\
Decode clean images, in which no fingerprint is, and keep what the decoder says of them in a file
that is tied to it: how often each bit is 1, how far the bits depend on each other, and how often
the images pass for keys. artfp detect finds the file beside the decoder's and tells its alarms.

The keys are test keys, drawn from the numbers 0, 1, ...: they are no secret, and stand for any key
that has nothing to do with the images. Over random keys the rate at which clean images pass is what
the binomial says ("attained"), whatever the decoder does; if the bounds leave it out, something in
the chain is wrong. For a single key it is not: biased and dependent bits spread the keys, and the
worst of them shows how far.

Take images like those that will be examined, a thousand or more, that the decoder was not trained
on. Bounds and alarms take images for independent: no copies, no frames of one film."""

EPILOG = """\
examples:
  artfp calibrate --decoder_path run/decoder.safetensors --data_dir photos/ paintings.zip
      writes run/decoder_calibration.json, where artfp detect finds it
  artfp calibrate --data_dir faces/ --max_images 2000 --output faces.json
      the shipped photo128 on images of another kind; give detect --calibration faces.json

A run that was stopped goes on where it stopped when the same command is given again.

exit codes: 0 nothing alarming, 1 an alarm (told in words) or images that could not be used (each is
named), 2 bad input, 130 interrupted"""


def _parser() -> Any:
    parser = make_parser("artfp calibrate", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add_decoder_option(parser)
    add(
        "--data_dir",
        type=str,
        nargs="+",
        required=True,
        metavar="PLACE",
        help="Clean images: folders, zips, images, or lists of paths (.txt); one or more.",
    )
    add(
        "--output",
        type=str | None,
        default=None,
        metavar="FILE.json",
        help="Write the calibration here; default: beside the decoder's file. Results on the way "
        "lie in FILE.json.decoding/ until it is done.",
    )
    add("--keys", type=int, default=100, help="How many test keys to compare with.")
    add(
        "--max_images",
        type=int | None,
        default=None,
        help="At most so many images, from each place as many as from the others.",
    )
    add(
        "--image_resolution",
        type=int | None,
        default=None,
        help="Cut the centre square of each image and resize it to this side.",
    )
    add(
        "--realign",
        type=bool,
        default=True,
        help="Find and undo crops and turns, as detect does unless told otherwise.",
    )
    add(
        "--logits",
        type=str | None,
        default=None,
        metavar="FILE.npz",
        help="Also keep what was decoded: names and logits.",
    )
    add_run_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    args = _parser().parse_args(argv)
    prepare_terminal()
    keys = args["keys"]  # args.keys is a method
    if not 2 <= keys <= 10_000:
        raise UserError(f"--keys: found {keys}, expected 2 to 10000")

    from artfp.data import Geometry
    from artfp.data.bundle import find_weights
    from artfp.data.files import (
        check_output,
        file_hash,
    )
    from artfp.watermark import load_decoder
    from artfp.watermark.calibrate import Calibrator, CombinedSource, run_calibration
    from artfp.watermark.decode import DecodingJob
    from artfp.watermark.prediction_loop import make_trainer

    weights = find_weights(args.decoder_path, "decoder")
    output = check_output(str(_output(args, weights)), "calibration")
    logits = None if args.logits is None else check_output(args.logits, "logits")
    source = CombinedSource(args.data_dir, args.max_images)
    decoder, card = load_decoder(args.decoder_path, args.realign)
    digest = file_hash(weights)
    made = {
        "data": source.titles,
        "image_resolution": args.image_resolution,
        "realign": args.realign,
    }
    calibrator = Calibrator(card["bits"], digest, keys, output, made, logits)
    result = run_calibration(
        DecodingJob(
            source=source,
            output=output.with_name(f"{output.name}.decoding"),
            decoder=decoder,
            decoder_hash=digest,
            geometry=Geometry(args.image_resolution),
            batch_size=args.batch_size,
            num_workers=args.num_workers,
            trainer=make_trainer(**trainer_options(args)),
        ),
        calibrator,
    )
    if result is None or calibrator.calibration is None:
        return 0
    alarmed = _tell(calibrator.calibration)
    print(f"{count_images(result.decoded)} decoded; calibration in {one_line(str(output))}")
    return max(report_unusable(result.failed), int(alarmed))


def _output(args: Any, weights: Path) -> Path:
    """The file to write: what was asked for, or beside a decoder of the user's own."""
    from artfp.data.bundle import shipped_weights
    from artfp.watermark.calibrate import default_calibration_path

    if args.output is not None:
        return Path(args.output)
    if args.decoder_path in shipped_weights():
        raise UserError(
            f"missing --output: {args.decoder_path} comes with artfp, whose files stay as they are"
        )
    return default_calibration_path(weights)


def _tell(found: Any) -> bool:
    """Print tables and alarms; whether there are any alarms."""
    from artfp.stats import find_alarms
    from artfp.watermark.calibration import false_alarm_table, health_table

    console().print(health_table(found))
    console().print(false_alarm_table(found))
    alarmed = find_alarms(found)
    for alarm in alarmed:
        print(f"alarm: {alarm}")
    if not alarmed:
        print("nothing alarming")
    return bool(alarmed)
