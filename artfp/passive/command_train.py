"""`artfp attribute train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artfp.core.command import count_images, report_unusable
from artfp.core.console import console
from artfp.core.device_options import add_lightning_options, trainer_options
from artfp.core.errors import UserError, one_line
from artfp.core.legacy import make_parser
from artfp.core.processes import first_process
from artfp.core.progress import stages
from artfp.passive.attribute_fitting import add_rule_options, examined, tell_by_source

DESCRIPTION = """\
Train a network to tell sources apart, as Yu, Davis and Fritz (ICCV 2019) do. FOLDER has one
subfolder of images for each source, as for artfp attribute fit; the result is an attributor of the
same kind: predict, report and artfp robustness take it.

networks:
  compact    a small residual network with batch normalisation that is shown the image and its
             high-pass. It needs far fewer images and far less time. The default
  published  the classifier of the paper: 8.9 million weights, no normalisation

A fifth of the images of each source, by name, is held out (at least 50 where there are 100): these
tell how far scores can be believed, so that "none of these" can be said with a known error. It is
said by what early layers see, not by the scores; a network that is immunised takes an unknown
source for a perturbed known one. Images are cut to squares with a side of 32, 64, 128 or 256 pixels
from their middle, never resized.

studies of the paper:
  --low_pass 8         what images say without their fine detail: made smaller by 8 and large again
  --residual 8         what that takes away
  --convolve_from 32   published network: maps are convolved down to 32 pixels a side, then only
                       pooled; at 128 px it sees patches of 3, 10, 24, 52, 108 or 128 pixels with
                       128, 64, 32, 16, 8 or 4 (4: the whole network)
  --immunise NAMES     perturb the training images: relight, crop, blur, jpeg, noise, each with
                       probability one half and strengths from the published ranges, in that order;
                       or all. With --init a trained attributor is tuned further

Files are compared first: sources that codec, size, JPEG tables or metadata alone would tell apart
are warned of, since then a high accuracy shows little."""

EPILOG = """\
examples:
  artfp attribute train dumps/
  artfp attribute train dumps/ --output_dir published --network published --max_time 00:00:30:00
  artfp attribute train dumps/ --output_dir immune --init attributor --immunise jpeg,noise
  artfp attribute report labelled/ --attributor immune

writes into --output_dir:
  attributor.safetensors  all that predict and report need
  attributor.json         its card: sources, choices, validation, warnings
  config.yaml             the settings
  checkpoints/            the last state; go on from it with --resume
  tensorboard/            loss, accuracy, confusions (tensorboard --logdir OUTPUT_DIR)

exit codes: 0 done, 1 some images could not be used (each is named), 2 bad input, 130 interrupted"""


def describe(prog: str) -> Any:
    """The options."""
    parser = make_parser(prog, DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("folder", type=str, help="Folder with one subfolder of images for each source.")
    add("--output_dir", default="attributor", help="Folder for everything the training writes.")
    add("--network", type=str | None, default=None,
        help="compact or published; default: compact, or as --init.")  # fmt: skip
    add("--window", type=int | None, default=None,
        help="Side in pixels of what is cut of every image: 32, 64, 128 or 256; default: the "
        "largest that 95% of each source's images have.")  # fmt: skip
    add("--low_pass", type=int | None, default=None, help="Factor: 1, 2, 4, 8, 16 or 32.")
    add("--residual", type=int | None, default=None, help="Factor: 2, 4, 8, 16 or 32.")
    add("--convolve_from", type=int | None, default=None,
        help="Side in pixels of the smallest maps that are convolved; default: 4.")  # fmt: skip
    add("--immunise", type=str | None, default=None, metavar="NAME,...|all",
        help="What training images are perturbed with.")  # fmt: skip
    add("--init", type=str | None, default=None, metavar="FOLDER",
        help="Go on from a trained attributor, with its network.")  # fmt: skip
    add("--max_steps", type=int | None, default=None,
        help="Steps; default: 2000 of compact, 20000 of published.")  # fmt: skip
    add("--batch_size", type=int, default=32, help="Images a step and process.")
    add("--rate", type=float | None, default=None,
        help="Of Adam; default: 0.001 of published, 0.003 of compact.")  # fmt: skip
    add("--mirror", type=bool, default=True, help="Mirror half of the images at random.")
    add("--held_out", type=float, default=0.2, help="Share of each source's images to calibrate.")
    add_rule_options(parser)
    add("--limit", type=int, default=1000, help="At most so many images of each source.")
    add("--seed", type=int, default=0, help="Of weights, draws and what is held out.")
    add("--look_every", type=int, default=100, help="Steps between looks at held out images.")
    add("--checkpoint_minutes", type=float, default=10.0, help="Minutes between checkpoints.")
    add("--resume", action="store_true", help="Go on from the last checkpoint in --output_dir.")
    add_lightning_options(parser, training=True)
    return parser


def act(args: Any, parser: Any, words: list[str]) -> int:
    """Run the action; the exit code."""
    if args.limit < 1:
        raise UserError(f"--limit: found {args.limit}, expected 1 or more")

    from artfp.data.sources import (
        open_sources,
    )
    from artfp.passive.attributors.bundle import save_attributor
    from artfp.passive.attributors.verdicts import DecisionRule
    from artfp.passive.fitting.card import describe_fit
    from artfp.passive.fitting.classifier import CALIBRATION_GROUPS, train_classifier

    rules, output = DecisionRule(args.alpha, args.confidence), Path(args.output_dir)
    sources = open_sources(Path(args.folder))
    immunise, init = immunities(args.immunise), _init(args, tuple(sources))
    guard = examined(sources)
    with stages() as tick:
        image_set, design = _material(args, sources, init, tick)
    try:
        if first_process():
            print(
                f"{count_images(len(image_set))} of {len(sources)} sources; "
                f"{image_set.policy.describe()}"
            )
        settings = _settings(args, design, immunise, init)
        name, config = output.resolve().name, parser.dump(args)
        found = train_classifier(image_set, settings, rules, name, args.held_out, config)
        if found is None:
            return 0
        asked = {key: getattr(args, key) for key in ("window", "limit", "seed", "held_out")}
        about = f"{design.network} network, after Yu et al. 2019"
        found.attributor.metadata.update(describe_fit(image_set, found, guard, asked, about))
        found.attributor.metadata["way"] = f"network {design.network}"
        found.attributor.metadata["validation"]["folds"] = CALIBRATION_GROUPS
        files = save_attributor(found.attributor, output)
    finally:
        image_set.close()
    _tell(found)
    tell_by_source(found)
    print(f"wrote {' and '.join(files)} into {one_line(str(output))}")
    return report_unusable(image_set.failed)


def immunities(text: str | None) -> tuple[str, ...]:
    """What training images are perturbed with. Raises UserError: an unknown name, or none."""
    from artfp.passive.training.classifier import IMMUNITIES, Immunisation

    if text is None:
        return ()
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if names == ("all",):
        return tuple(IMMUNITIES)
    Immunisation(names)
    return names


def _init(args: Any, sources: tuple[str, ...]) -> Any:
    """The network that --init names, or None."""
    from artfp.passive.fitting.classifier import load_network

    return None if args.init is None else load_network(args.init, sources)


def _material(args: Any, sources: Any, init: Any, tick: Any) -> tuple[Any, Any]:
    """The images, cut to the side of a network, and the design of the network."""
    from artfp.passive.attributors.window import ALIGNED
    from artfp.passive.fitting.classifier import network_side
    from artfp.passive.fitting.image_set import ImageSet
    from artfp.passive.networks.classifier import ClassifierDesign

    def design(side: int) -> Any:
        before = {} if init is None else init.design.card()
        given = {
            "network": args.network,
            "low_pass": args.low_pass,
            "residual": args.residual,
            "convolve_from": args.convolve_from,
        }
        asked = {key: value for key, value in given.items() if value is not None}
        return ClassifierDesign(**{**before, "resolution": side, **asked})

    def read(side: int | None) -> Any:
        return ImageSet(
            sources,
            policy=ALIGNED,
            window=side,
            limit=args.limit,
            seed=args.seed,
            folder=Path(args.output_dir),
            tick=tick,
        )

    side = args.window
    if side is None and init is not None:
        side = init.design.resolution
    if side is not None:
        chosen = design(side)  # before images are read: its settings may be wrong
        return read(side), chosen
    image_set = read(None)
    try:
        side = network_side(image_set.policy)
        chosen = design(side)
    except UserError:
        image_set.close()
        raise
    if image_set.policy.window != (side, side):
        image_set.close()
        image_set = read(side)
    return image_set, chosen


def _settings(args: Any, design: Any, immunise: tuple[str, ...], init: Any) -> Any:
    from artfp.data.files import file_hash
    from artfp.passive.attributors.bundle import ATTRIBUTOR_FILE
    from artfp.passive.training.classifier_fit import AttributorTraining

    origin = None
    if init is not None:
        place = Path(args.init)
        origin = file_hash(place / ATTRIBUTOR_FILE if place.is_dir() else place)
    return AttributorTraining(
        Path(args.output_dir),
        design,
        max_steps=args.max_steps,
        batch_size=args.batch_size,
        rate=args.rate,
        mirror=args.mirror,
        immunise=immunise,
        init=init,
        origin=origin,
        seed=args.seed,
        look_every=args.look_every,
        checkpoint_minutes=args.checkpoint_minutes,
        resume=args.resume,
        trainer={**trainer_options(args), "max_time": args.max_time},
    )


def _tell(found: Any) -> None:
    """How well the network does on held out images."""
    trial, valid = found.ways[0], found.validation
    training = found.attributor.metadata["training"]
    console().print(
        f"{training['steps']} steps; {training['held_out']} held out images: accuracy "
        f"{trial.largest:.2%} by the largest logit, {valid.accuracy:.2%} by likelihoods, log loss "
        f"{valid.log_loss:.4f}",
        soft_wrap=True,
    )
