"""`artfp train` and `train.py`: train an encoder and a decoder on a folder of images."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artfp.core.console import console, prepare_terminal
from artfp.core.device_options import add_lightning_options, trainer_options
from artfp.core.legacy import make_parser

DESCRIPTION = """\
Train an encoder, which hides a fingerprint in images, and the decoder that reads it again.

Any folder (at any depth), zip, or list of image paths will do. The defaults train artfp's own
networks to 100 bits at 128 pixels and 40 dB. Everything lands in --output_dir: encoder.safetensors,
decoder.safetensors, card.json (measured figures), sample.png, config.yaml (the settings used),
checkpoints/ and tensorboard/ (watch it with: tensorboard --logdir OUTPUT_DIR)."""

EPILOG = """\
examples:
  train.py --data_dir photos/ --output_dir runs/photos
  train.py --data_dir photos/ --output_dir runs/photos --resume
  train.py --data_dir celeba/ --output_dir runs/celeba --use_celeba_preprocessing \\
      --architecture stegastamp --schedule published          (the recipe of Yu et al. 2021)

exit codes: 0 trained, 2 bad input (one line on stderr), 130 interrupted (go on with --resume)"""


def _parser() -> Any:
    parser = make_parser("train.py", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("--data_dir", required=True, help="Folder, zip or list of images.")
    add("--output_dir", required=True, help="Folder for everything the training writes.")
    add(
        "--fingerprint_size",
        "--fingerprint_length",
        type=int,
        default=100,
        help="Bits of the fingerprint, 8 to 256.",
    )
    add(
        "--image_resolution",
        type=int,
        default=128,
        help="Pixels a side that the networks see: a power of two, 32 to 512.",
    )
    add(
        "--use_celeba_preprocessing",
        action="store_true",
        help="Crop the middle 148 x 148 of aligned CelebA images, as published.",
    )
    add(
        "--centre_crop",
        action="store_true",
        help="Train on the resized centre square of each image, as published, without random "
        "crops (always on with --schedule published).",
    )
    add("--architecture", default="residual", help="residual (artfp's own) or stegastamp.")
    add(
        "--schedule",
        type=str | None,
        default=None,
        help="feedback (steers to --target_psnr; default of residual) or published (ArtFP's; "
        "default of stegastamp).",
    )
    add(
        "--init",
        type=str | None,
        default=None,
        metavar="WEIGHTS",
        help="Go on from trained weights, a shipped name or an encoder's file with its decoder "
        "beside it, instead of new ones: to fit them to your images or to another PSNR. Take a "
        "lower --lr, such as 5e-4.",
    )
    add(
        "--transplant",
        type=float,
        default=0.0,
        help="Share of the images in training that carry only what the residuals of one "
        "fingerprint have in common, which is what a generator learns first; try 0.3 for a "
        "fingerprint that shall transfer soon.",
    )
    add("--target_psnr", type=float, default=40.0, help="Mean PSNR in dB that feedback ends at.")
    add(
        "--batch_size",
        type=int | None,
        default=None,
        help="Images a step and process; default 32, with the published schedule 64.",
    )
    add(
        "--num_epochs",
        type=int | None,
        default=None,
        help="Passes over the images; default 20 with the published schedule.",
    )
    add(
        "--max_steps",
        type=int | None,
        default=None,
        help="Steps of training; default 4000 unless --num_epochs is given.",
    )
    add(
        "--lr",
        type=float | None,
        default=None,
        help="Learning rate; default 2e-3, published 1e-4, where --resume may change it.",
    )
    add("--l2_loss_await", type=int, default=1000, help="Published: steps before the image loss.")
    add("--l2_loss_weight", type=float, default=10.0, help="Published: its final weight.")
    add("--l2_loss_ramp", type=int, default=3000, help="Published: steps in which it rises.")
    add("--BCE_loss_weight", type=float, default=1.0, help="Weight of the bits' cross-entropy.")
    add("--seed", type=int, default=0, help="Decides weights and draws. It is no secret.")
    add("--num_workers", type=int | None, default=None, help="Loader processes; default: the CPUs.")
    add("--validate_every", type=int, default=500, help="Steps between validations.")
    add("--checkpoint_minutes", type=float, default=10.0, help="Minutes between checkpoints.")
    add("--resume", action="store_true", help="Go on from the last checkpoint in --output_dir.")
    add(
        "--guard",
        type=bool | None,
        default=None,
        help="Act on a training stuck at accuracy 0.5; default: yes, published: only report.",
    )
    add_lightning_options(parser, training=True)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    prepare_terminal()

    from artfp.data.geometry import Geometry
    from artfp.watermark.training.fit import Training, train

    published = args.schedule == "published" or (
        args.schedule is None and args.architecture == "stegastamp"
    )
    crop = args.centre_crop or published or args.use_celeba_preprocessing
    settings = Training(
        data_dir=args.data_dir,
        output_dir=Path(args.output_dir),
        architecture=args.architecture,
        schedule=args.schedule,
        init=args.init,
        transplant=args.transplant,
        bits=args.fingerprint_size,
        resolution=args.image_resolution,
        geometry=Geometry(args.image_resolution if crop else None, args.use_celeba_preprocessing),
        target_psnr=args.target_psnr,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        num_epochs=args.num_epochs,
        max_steps=args.max_steps,
        lr=args.lr,
        l2_loss_await=args.l2_loss_await,
        l2_loss_weight=args.l2_loss_weight,
        l2_loss_ramp=args.l2_loss_ramp,
        bce_loss_weight=args.BCE_loss_weight,
        seed=args.seed,
        validate_every=args.validate_every,
        checkpoint_minutes=args.checkpoint_minutes,
        guard=args.guard,
        resume=args.resume,
        trainer={**trainer_options(args), "max_time": args.max_time},
    )
    arguments = list(sys.argv[1:] if argv is None else argv)
    # A card travels with the weights: it names the data, not where they lie on this machine.
    for path in (args.data_dir, args.output_dir):
        arguments = [word.replace(path, Path(path).name) for word in arguments]
    command = "train.py " + shlex.join(arguments)
    result = train(settings, command, parser.dump(args))
    if result is None:
        return 0
    figures = result.measured
    out = console()
    out.print(
        f"bit accuracy {figures['bit_accuracy']:.4f} (JPEG 90 {figures['bit_accuracy_jpeg90']:.4f},"
        f" JPEG 50 {figures['bit_accuracy_jpeg50']:.4f}, rotation by 10 degrees"
        f" {figures['bit_accuracy_rotation10']:.4f}, combination"
        f" {figures['bit_accuracy_combination']:.4f}), PSNR {figures['psnr']:.2f} dB,"
        f" SSIM {figures['ssim']:.4f} on {figures['images']:.0f} validation images",
        soft_wrap=True,
    )
    if result.reached:
        out.print(f"0.99 was first read at step {result.reached[0]}, {result.reached[1]} s")
    out.print(f"wrote {result.encoder} and {result.decoder}", soft_wrap=True)
    return 0
