"""`artfp gan`: train generative models on any images, and generate with them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from artfp.core.command import count_images, report_unusable
from artfp.core.console import console
from artfp.core.device_options import add_device_option, torch_device
from artfp.core.errors import UserError
from artfp.core.legacy import make_parser, parsed_action
from artfp.generators import gan_alter
from artfp.generators.gan_options import add_training_options, training_of

HELP = """\
usage: artfp gan ACTION ...

Train generative models on images, fingerprinted or not, and generate with them.

actions:
  list      List the models with their sources
  train     Train one of them on a folder of images
  generate  Make images with a trained generator
  alter     Disturb, quantise or prune the weights of one

examples:
  artfp gan train dcgan --data_dir out/fingerprinted_images --output_dir runs/dcgan
  artfp gan generate --generator runs/dcgan/generator.safetensors --count 1000 --output_dir made
  artfp gan train dcgan --init runs/dcgan --data_dir other/ --output_dir tuned --max_steps 500
  artfp gan alter --generator runs/dcgan/generator.safetensors --bits 8,4 --output_dir altered

artfp gan ACTION --help tells an action's options.
exit codes: 0 done, 1 some input images could not be used, 2 bad input, 130 interrupted"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    found = parsed_action("artfp gan", _ACTIONS, argv, HELP)
    if found is None:
        return 0
    act, args, parser, words = found
    return act(args, parser, words)


def _list_parser(prog: str) -> Any:
    parser = make_parser(prog, "List the generative models, with what they are after.")
    parser.add_argument(
        "--departures", action="store_true", help="Also where each is not what its paper says."
    )
    return parser


def _list(args: Any, parser: Any, words: list[str]) -> int:
    from rich.table import Table

    from artfp.generators import generative_models

    table = Table("name", "kind", "pixels a side", "parameters, small", "paper", "source")
    for name, model in generative_models().items():
        sizes = [_parameters(name, size) for size in ("small", "paper")]
        sides = ", ".join(map(str, model.resolutions))
        table.add_row(name, model.kind(), sides, *sizes, model.reference)
    console().print(table)
    if args.departures:
        for name, model in generative_models().items():
            console().print(f"{name}: {model.departures}", soft_wrap=True)
    return 0


def _parameters(name: str, size: str) -> str:
    """Number of a model's parameters; a dash where it needs a package that is not installed."""
    import torch

    from artfp.generators import build_model, find_model

    model = find_model(name)
    side = 32 if 32 in model.resolutions else model.resolutions[0]
    try:
        with torch.device("meta"):  # neither drawn nor held
            built = build_model(name, side, size, 0, 10 if model.labelled else 0)
    except UserError:
        return "-"
    return f"{sum(p.numel() for p in built.parameters()) / 1e6:.1f}M"


def _train_parser(prog: str) -> Any:
    parser = make_parser(
        prog,
        "Train a generative model on a folder, zip or list of images: centre squares, resized.\n\n"
        "In --output_dir: generator.safetensors, card.json, sample.png, config.yaml (the settings\n"
        "used), checkpoints/, snapshots/ (with --keep_every) and tensorboard/ (watch it with:\n"
        "tensorboard --logdir OUTPUT_DIR).",
    )
    add_training_options(parser)
    add = parser.add_argument
    add("--resume", action="store_true", help="Go on from the last checkpoint in --output_dir.")
    add(
        "--init",
        type=str | None,
        default=None,
        metavar="FILE|FOLDER",
        help="Go on from a trained generator, with its resolution and configuration (--size does "
        "not count); of a training's folder, from its other networks as well. Optimisers start "
        "anew.",
    )
    add(
        "--freeze_steps",
        type=int | None,
        default=None,
        help="With --init: first steps in which the generator waits for the other networks; "
        "default: 100 where these are new, else 0.",
    )
    return parser


def _train(args: Any, parser: Any, words: list[str]) -> int:
    from artfp.generators.training.fit import train_generator
    from artfp.generators.training.pretrained import load_pretrained

    pretrained = None if args.init is None else load_pretrained(args.init)
    settings = training_of(
        args, resume=args.resume, init=pretrained, freeze_steps=args.freeze_steps
    )
    # A card travels with the weights: it names the data, not where they lie on this machine.
    for path in filter(None, (*settings.data_dirs, args.output_dir, args.init)):
        words = [word.replace(path, Path(path).name) for word in words]
    path = train_generator(settings, "artfp gan " + shlex.join(words), parser.dump(args))
    if path is not None:
        console().print(f"wrote {path}", soft_wrap=True)
    return 0


def _generate_parser(prog: str) -> Any:
    parser = make_parser(
        prog,
        "Write images of a trained generator to OUTPUT_DIR/images. The same seed gives the same\n"
        "images; a run that was stopped goes on when the command is given again.",
    )
    add = parser.add_argument
    add("--generator", required=True, metavar="FILE", help="generator.safetensors of a training.")
    add("--output_dir", required=True, help="Folder for the images.")
    add(
        "--count",
        type=int | None,
        default=None,
        help="Number of images; of a translator: at most, default all of --data_dir.",
    )
    add("--seed", type=int, default=0, help="Decides the images, with their numbers.")
    add("--batch_size", type=int, default=64, help="Images at once.")
    add("--label", type=int | None, default=None, help="Only this class; default: all in turn.")
    add(
        "--data_dir",
        type=str | None,
        default=None,
        help="Of a translator: the images to translate.",
    )
    add(
        "--target",
        type=int | None,
        default=None,
        help="Of a translator: the domain or class to translate to, counted from 0.",
    )
    add("--format", type=str, default="png", help="png, webp, bmp, tiff or jpeg.")
    add("--archive", action="store_true", help="Also pack the images into images.zip.")
    add_device_option(parser)
    return parser


def _generate(args: Any, parser: Any, words: list[str]) -> int:
    from artfp.data.sources import open_source
    from artfp.generators.generate import Generation, generate_images

    job = Generation(
        Path(args.generator),
        Path(args.output_dir),
        count=args.count,
        seed=args.seed,
        batch_size=args.batch_size,
        format=args.format,
        archive=args.archive,
        label=args.label,
        inputs=None if args.data_dir is None else open_source(args.data_dir),
        target=args.target,
        device=torch_device(args),
    )
    done = generate_images(job)
    before = f", {done.before} of them before" if done.before else ""
    console().print(f"{count_images(done.images)} in {done.folder}{before}", soft_wrap=True)
    return report_unusable(done.failed)


_Action = tuple[Callable[[str], Any], Callable[[Any, Any, list[str]], int]]

_ACTIONS: dict[str, _Action] = {
    "list": (_list_parser, _list),
    "train": (_train_parser, _train),
    "generate": (_generate_parser, _generate),
    "alter": (gan_alter.describe, gan_alter.act),
}
