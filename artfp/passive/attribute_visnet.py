"""`artfp attribute visnet`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artfp.core.device_options import torch_device
from artfp.core.errors import UserError
from artfp.core.legacy import make_parser
from artfp.passive.attribute_fitting import add_fitting_options, fit_and_save

DESCRIPTION = """\
Train a network whose evidence can be looked at, after the visualisation network of Yu, Davis and
Fritz (ICCV 2019). An autoencoder learns what images of all sources share; what it does not give
back is an image's fingerprint. The score of a source is the inner product of that with the source's
own fingerprint, of the same size: the pictures show both, and what each pixel adds.

The attributor is one as of artfp attribute fit: predict, report and artfp robustness take it.
Whole images only, cut to a square with a side of 32, 64, 128 or 256 pixels from their middle. A
fifth of the images of each source is held out; it calibrates the scores and is what is shown."""

EPILOG = """\
examples:
  artfp attribute visnet dumps/ --output_dir visnet
  artfp attribute visnet dumps/ --output_dir visnet --max_steps 20000 --resume
  artfp attribute report labelled/ --attributor visnet

writes into --output_dir:
  attributor.safetensors, attributor.json   as artfp attribute fit
  model_fingerprints.png                    of each source, about gray; the factor stands below
  image_fingerprints.png                    of some held out images of each source, likewise
  responses.png                             what pixels add to the scores, means over held out
                                            images: rows images, columns models
  responses.csv                             mean scores: the sums of these over the pixels
  checkpoints/, tensorboard/                the last state (--resume); losses and pictures

exit codes: 0 done, 1 some images could not be used (each is named), 2 bad input, 130 interrupted"""


def describe(prog: str) -> Any:
    """The options."""
    parser = make_parser(prog, DESCRIPTION, EPILOG)
    add_fitting_options(parser)
    add = parser.add_argument
    add("--width", type=int, default=16, help="Channels at 32 pixels a side.")
    add("--max_steps", type=int, default=1500, help="Steps.")
    add("--batch_size", type=int, default=32, help="Images a step.")
    add("--rate", type=float, default=1e-3, help="Of Adam.")
    add("--reconstruction", type=float, default=20.0, help="Weight of the L1 loss.")
    add("--adversarial", type=float, default=0.1, help="Weight of the critic's loss.")
    add("--mirror", type=bool, default=False, help="Mirror half of the images at random.")
    add("--held_out", type=float, default=0.2, help="Share of each source's images to calibrate.")
    add("--seed", type=int, default=0, help="Of weights, draws and what is held out.")
    add("--look_every", type=int, default=250, help="Steps between looks at held out images.")
    add("--checkpoint_minutes", type=float, default=10.0, help="Minutes between checkpoints.")
    add("--resume", action="store_true", help="Go on from the last checkpoint in --output_dir.")
    add("--precision", type=str, default="32-true", help="Lightning: 32-true or bf16-mixed.")
    return parser


def act(args: Any, parser: Any, words: list[str]) -> int:
    """Run the action; the exit code."""
    from artfp.passive import visnet_report as report
    from artfp.passive.fitting.classifier import network_side
    from artfp.passive.fitting.visnet import VISNET_SUMMARY, fit_visnet
    from artfp.passive.training.visnet import VisNetRecipe, VisNetTraining

    if args.window not in (None, 32, 64, 128, 256):
        raise UserError(f"--window: found {args.window}, expected 32, 64, 128 or 256")
    gpu = torch_device(args).startswith("cuda")
    recipe = VisNetRecipe(
        reconstruction=args.reconstruction,
        adversarial=args.adversarial,
        rate=args.rate,
        mirror=args.mirror,
    )
    settings = VisNetTraining(
        Path(args.output_dir),
        recipe,
        width=args.width,
        max_steps=args.max_steps,
        batch_size=args.batch_size,
        seed=args.seed,
        look_every=args.look_every,
        checkpoint_minutes=args.checkpoint_minutes,
        resume=args.resume,
        trainer={
            "precision": args.precision,
            "accelerator": "gpu" if gpu else "cpu",
            "devices": [args.cuda] if gpu and args.cuda is not None else 1,
        },
    )
    evidence = []

    def fit(material: Any, rules: Any, name: str, tick: Any) -> Any:
        found, seen = fit_visnet(material, settings, rules, name, args.held_out, tick)
        evidence.append(seen)
        return found

    def pictures() -> dict[str, bytes | str]:
        seen = evidence[0]
        return {
            "model_fingerprints.png": report.plot_source_fingerprints(seen.sources, seen.models),
            "image_fingerprints.png": report.plot_image_fingerprints(
                seen.sources, seen.examples, seen.fingerprints
            ),
            "responses.png": report.plot_responses(seen.sources, seen.responses),
            "responses.csv": report.responses_csv(seen.sources, seen.scores),
        }

    return fit_and_save(
        args, {"held_out": args.held_out}, VISNET_SUMMARY, fit, pictures, network_side
    )
