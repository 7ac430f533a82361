"""`artfp transfer`: does a fingerprint come through a generator?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artfp.core.command import report_unusable
from artfp.core.common import add_fingerprint_options
from artfp.core.console import console
from artfp.core.device_options import torch_device, trainer_options
from artfp.core.errors import UserError
from artfp.core.legacy import make_parser, parsed_action
from artfp.generators.gan_options import add_training_options, training_of

HELP = """\
usage: artfp transfer ACTION ...

Find out whether a fingerprint in training images comes out of the generator trained on them.

actions:
  study    Fingerprint images, train a generator with and without, and read what they make
  read     Read images that a generator made elsewhere
  predict  Foretell in a minute, without a generator, whether weights will transfer
  table    Put studies of several generators into one table

examples:
  artfp transfer study dcgan --data_dir cifar10/train --encoder_path transfer32 --output_dir study --quick
  artfp transfer study sngan --data_dir cifar10/train --encoder_path transfer32 --output_dir study \\
      --controls other,random
  artfp transfer read --data_dir made/ --real cifar10/train --key owner.key.json \\
      --decoder_path transfer32
  artfp transfer predict --data_dir cifar10/train --encoder_path transfer32
  artfp transfer table study_dcgan study_sngan --output table.md

artfp transfer ACTION --help tells an action's options.
exit codes: 0 done, 1 some images could not be used, 2 bad input, 130 interrupted"""  # noqa: E501

STUDY = """\
Fingerprint images, train a generator on them and one on the clean images from the same seed, and
read what both make: bit accuracy of an image against steps of training, the verdict on 1, 10 and
100 images, and how far the images are from the clean data.

writes into --output_dir:
  transfer.md, .csv, .json   the figures
  progress.png               bit accuracy against steps
  samples.png                what the generators make of the same draws
  data/ training/ generated/ the stages, each of which can be run alone (--stages)
  fingerprint.key.json       the secret key, unless a fingerprint was given

A study that was stopped goes on where it was when the same command is given again; with more
--max_steps it trains on."""

QUICK = {"max_steps": 600, "limit": 10_000, "images": 500, "progress_images": 200}
"""Settings of a first answer within a quarter of an hour on two CPU cores."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    found = parsed_action("artfp transfer", _ACTIONS, argv, HELP)
    if found is None:
        return 0
    act, args, _, _ = found
    return act(args)


def _study_parser(prog: str) -> Any:
    parser = make_parser(prog, STUDY)
    add = parser.add_argument
    add_training_options(parser)
    add_fingerprint_options(parser)
    add(
        "--encoder_path",
        default="transfer32",
        help="Encoder: shipped weights by name, or a file; 64 bits at 32 pixels are the default's.",
    )
    add("--decoder_path", type=str | None, default=None, help="Decoder; default: the encoder's.")
    add("--strength", type=float, default=1.0, help="Factor on the residual; 1 is as trained.")
    add(
        "--controls",
        type=str | None,
        default=None,
        metavar="other,random",
        help="Also train on images with another fingerprint, and with one for each image: the "
        "fingerprint must not be found in what these generators make.",
    )
    add(
        "--clean_seeds",
        type=int,
        default=1,
        help="Clean generators, each from another seed: their distances tell what seeds do.",
    )
    add("--images", type=int, default=1000, help="Images of each generator in the end.")
    add("--progress_images", type=int, default=250, help="Images of each snapshot.")
    add("--target", type=int | None, default=None, help="Of a translator: domain or class to make.")
    add("--distances", type=bool, default=True, help="Compare the images with the clean data.")
    add(
        "--stages",
        type=str,
        default="embed,train,generate,report",
        metavar="STAGE,...",
        help="Only these of: embed, train, generate, report.",
    )
    add(
        "--quick",
        action="store_true",
        help="A first answer: "
        + ", ".join(f"{name} {value}" for name, value in QUICK.items())
        + ", each unless it is given.",
    )
    return parser


def _study(args: Any) -> int:
    from artfp.ownership.assignment import given_fingerprints
    from artfp.transfer.study import STAGES, TransferStudy, run_stages
    from artfp.watermark import load_encoder

    stages = _listed(args.stages)
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown:
        raise UserError(f"--stages: no stage {unknown[0]!r}; choose from {', '.join(STAGES)}")
    if args.quick:
        default = _study_parser("").parse_args([args.name, "--data_dir", "", "--output_dir", ""])
        for name, value in QUICK.items():
            if getattr(args, name) == getattr(default, name):
                setattr(args, name, value)
    _, card = load_encoder(args.encoder_path)
    options = trainer_options(args)
    study = TransferStudy(
        training=training_of(args),
        encoder=args.encoder_path,
        word=given_fingerprints(card["bits"], args.fingerprint, args.key, args.owner, args.subject),
        strength=args.strength,
        controls=tuple(_listed(args.controls or "")),
        clean_seeds=args.clean_seeds,
        images=args.images,
        progress_images=args.progress_images,
        target=args.target,
        device=torch_device(args),
        options={"accelerator": options["accelerator"], "devices": 1},
    )
    run_stages(study, stages)
    if "report" not in stages:
        return 0
    from artfp.transfer.report import report

    shown = report(study, args.decoder_path, args.distances)
    console().print(shown.table)
    for line in shown.lines:
        console().print(line, soft_wrap=True)
    return 0


def _read_parser(prog: str) -> Any:
    parser = make_parser(
        prog,
        "Read images of a generator that was trained elsewhere: bit accuracy of an image, and the\n"
        "verdict on 1, 10 and 100 of them; with --real their distance to the data.",
    )
    add = parser.add_argument
    add("--data_dir", required=True, help="The generator's images: a folder, zip or list.")
    add("--decoder_path", required=True, help="Decoder: shipped weights by name, or a file.")
    add_fingerprint_options(parser)
    add("--real", type=str | None, default=None, help="Images that the generator was trained on, "
        "without the fingerprint.")  # fmt: skip
    add("--limit", type=int | None, default=None, help="At most so many images of each.")
    add("--output", type=str | None, default=None, metavar="FILE.json", help="Write figures here.")
    return parser


def _read(args: Any) -> int:
    from artfp.ownership.assignment import given_fingerprints
    from artfp.transfer.report import read_elsewhere
    from artfp.watermark import load_decoder

    decoder, _ = load_decoder(args.decoder_path)
    word = given_fingerprints(decoder.bits, args.fingerprint, args.key, args.owner, args.subject)
    if word is None:
        raise UserError("give --key or --fingerprint: the fingerprint to look for")
    shown, failed = read_elsewhere(
        args.data_dir, args.decoder_path, word, args.real, args.limit, args.output
    )
    console().print(shown.table)
    for line in shown.lines:
        console().print(line, soft_wrap=True)
    return report_unusable(failed)


def _predict_parser(prog: str) -> Any:
    parser = make_parser(
        prog,
        "Foretell whether weights will transfer, from what the residuals of one fingerprint have\n"
        "in common: that is what a generator learns first. Takes a minute and trains nothing.",
    )
    add = parser.add_argument
    add("--data_dir", required=True, help="Images like those to fingerprint: a folder, zip, list.")
    add("--encoder_path", default="transfer32", help="Encoder: shipped weights by name, or a file.")
    add("--decoder_path", type=str | None, default=None, help="Decoder; default: the encoder's.")
    add("--image_resolution", type=int | None, default=None,
        help="Pixels a side of the generator; default: the encoder's.")  # fmt: skip
    add("--strength", type=float, default=1.0, help="Factor on the residual; 1 is as trained.")
    add("--images", type=int, default=1024, help="Images to use.")
    add("--words", type=int, default=8, help="Random fingerprints to try.")
    add("--seed", type=int, default=0, help="Draws the fingerprints.")
    add("--output", type=str | None, default=None, metavar="FILE.json", help="Write figures here.")
    return parser


def _predict(args: Any) -> int:
    from artfp.transfer.forecast import predict

    lines, failed = predict(
        args.data_dir,
        args.encoder_path,
        args.decoder_path,
        args.image_resolution,
        args.images,
        args.words,
        args.seed,
        args.strength,
        args.output,
    )
    for line in lines:
        console().print(line, soft_wrap=True)
    return report_unusable(failed)


def _table_parser(prog: str) -> Any:
    parser = make_parser(prog, "One table of several studies: a row for each generator.")
    parser.add_argument("studies", nargs="+", help="Folders of artfp transfer study.")
    parser.add_argument(
        "--output",
        type=str | None,
        default=None,
        metavar="FILE",
        help="Also write it: as .md, .csv or .json.",
    )
    return parser


def _table(args: Any) -> int:
    from artfp.transfer import table as transfer_table

    families = [transfer_table.read_family(study) for study in args.studies]
    forms = {
        ".md": transfer_table.studies_markdown,
        ".csv": transfer_table.studies_csv,
        ".json": transfer_table.studies_json,
    }
    if args.output is not None:
        from artfp.data.files import write_atomic

        form = forms.get(Path(args.output).suffix)
        if form is None:
            raise UserError(f"--output {args.output}: end it with {', '.join(forms)}")
        write_atomic(Path(args.output), form(families))
    console().print(transfer_table.studies_table(families))
    return 0


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


_ACTIONS = {
    "study": (_study_parser, _study),
    "read": (_read_parser, _read),
    "predict": (_predict_parser, _predict),
    "table": (_table_parser, _table),
}
