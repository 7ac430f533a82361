"""`artfp gan`: train generative models on any images, and generate with them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from artfp.cli.base import choose, console, make_parser
from artfp.cli.common import counted, prepare, report_failed, trainer_options
from artfp.errors import UserError

HELP = """\
usage: artfp gan ACTION ...

Train generative models on images, fingerprinted or not, and generate with them.

actions:
  list      List the models with their sources
  train     Train one of them on a folder of images
  generate  Make images with a trained generator

examples:
  artfp gan train dcgan --data_dir out/fingerprinted_images --output_dir runs/dcgan
  artfp gan generate --generator runs/dcgan/generator.safetensors --count 1000 --output_dir made

artfp gan ACTION --help tells an action's options.
exit codes: 0 done, 1 some input images could not be used, 2 bad input, 130 interrupted"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    action = choose(_ACTIONS, words, HELP)
    if action is None:
        return 0
    describe, act = action
    parser = describe(f"artfp gan {words[0]}")
    args = parser.parse_args(words[1:])
    prepare()
    return act(args, parser, words)


def _list_parser(prog: str) -> Any:
    parser = make_parser(prog, "List the generative models, with what they are after.")
    parser.add_argument(
        "--departures", action="store_true", help="Also where each is not what its paper says."
    )
    return parser


def _list(args: Any, parser: Any, words: list[str]) -> int:
    from rich.table import Table

    from artfp.gans import GANS, build

    table = Table("name", "kind", "pixels a side", "parameters, small", "paper", "source")
    for name, model in GANS.items():
        side = model.resolutions[0] if 32 not in model.resolutions else 32
        classes = 10 if model.labelled else 0
        sizes = [
            f"{sum(p.numel() for p in build(name, side, size, 0, classes).parameters()) / 1e6:.1f}M"
            for size in ("small", "paper")
        ]
        sides = ", ".join(map(str, model.resolutions))
        table.add_row(name, model.kind(), sides, *sizes, model.source)
    console().print(table)
    if args.departures:
        for name, model in GANS.items():
            console().print(f"{name}: {model.departures}", soft_wrap=True)
    return 0


def _train_parser(prog: str) -> Any:
    parser = make_parser(
        prog,
        "Train a generative model on a folder, zip or list of images: centre squares, resized.\n\n"
        "In --output_dir: generator.safetensors, card.json, sample.png, config.yaml (the settings\n"
        "used), checkpoints/, snapshots/ (with --keep_every) and tensorboard/ (watch it with:\n"
        "tensorboard --logdir OUTPUT_DIR).",
    )
    add = parser.add_argument
    add("name", type=str, help="Model, see artfp gan list.")
    add("--data_dir", required=True, help="Folder (at any depth), zip or list of images.")
    add(
        "--data_dir_b",
        type=str | None,
        default=None,
        metavar="DATA_DIR",
        help="Of a model between two domains: the images of the second.",
    )
    add("--output_dir", required=True, help="Folder for everything the training writes.")
    add("--size", type=str, default="small", help="small (for two CPU cores) or paper.")
    add("--resolution", type=int, default=32, help="Pixels a side.")
    add(
        "--set",
        type=str | None,
        default=None,
        metavar="NAME=VALUE,...",
        help="Change numbers of the model's configuration, such as width=32,average=0.999.",
    )
    add("--max_steps", type=int | None, default=None, help="Steps; default: the configuration's.")
    add(
        "--batch_size",
        type=int | None,
        default=None,
        help="Images a turn and process; default: the configuration's.",
    )
    add("--mirror", type=bool, default=True, help="Mirror half of the images at random.")
    add(
        "--use_celeba_preprocessing",
        action="store_true",
        help="Crop the middle 148 x 148 of aligned CelebA images, as published.",
    )
    add("--seed", type=int, default=0, help="Decides weights and draws.")
    add("--resume", action="store_true", help="Go on from the last checkpoint in --output_dir.")
    add("--sample_every", type=int, default=250, help="Steps between pictures in TensorBoard.")
    add("--keep_every", type=int, default=0, help="Steps between kept generators; 0: none.")
    add("--checkpoint_minutes", type=float, default=10.0, help="Minutes between checkpoints.")
    add(
        "--num_workers",
        type=int | None,
        default=None,
        help="Loader processes; default: none where all images can be kept in memory, else the "
        "CPUs.",
    )
    _add_device(parser)
    add("--devices", type=str, default="auto", help="Lightning: number of devices, or a list.")
    add("--num_nodes", type=int, default=1, help="Lightning: machines.")
    add("--accelerator", type=str, default="auto", help="Lightning: cpu, gpu, ...")
    add("--strategy", type=str, default="auto", help="Lightning: ddp, ...")
    add("--precision", type=str, default="32-true", help="Lightning: 32-true or bf16-mixed.")
    add("--max_time", type=str | None, default=None, help="Lightning: stop after DD:HH:MM:SS.")
    return parser


def _train(args: Any, parser: Any, words: list[str]) -> int:
    from artfp.training.gan_fit import GanTraining, train_gan

    folders = [args.data_dir] + ([args.data_dir_b] if args.data_dir_b is not None else [])
    settings = GanTraining(
        args.name,
        folders,
        Path(args.output_dir),
        size=args.size,
        resolution=args.resolution,
        changes=_changes(args.set),
        max_steps=args.max_steps,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        seed=args.seed,
        mirror=args.mirror,
        celeba=args.use_celeba_preprocessing,
        sample_every=args.sample_every,
        keep_every=args.keep_every,
        checkpoint_minutes=args.checkpoint_minutes,
        resume=args.resume,
        progress=sys.stderr.isatty(),
        trainer={**trainer_options(args), "max_time": args.max_time},
    )
    # A card travels with the weights: it names the data, not where they lie on this machine.
    for path in (*folders, args.output_dir):
        words = [word.replace(path, Path(path).name) for word in words]
    path = train_gan(settings, "artfp gan " + shlex.join(words), parser.dump(args))
    if path is not None:
        console().print(f"wrote {path}", soft_wrap=True)
    return 0


def _changes(text: str | None) -> dict[str, str]:
    changes = {}
    for part in filter(None, (text or "").split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise UserError(f"--set {part}: write NAME=VALUE")
        changes[name.strip()] = value.strip()
    return changes


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
    _add_device(parser)
    return parser


def _generate(args: Any, parser: Any, words: list[str]) -> int:
    import torch

    from artfp.data.sources import open_source
    from artfp.training.gan_generate import Generation, generate

    gpus = torch.cuda.device_count()
    number = (0 if gpus else -1) if args.cuda is None else args.cuda
    if number >= gpus:
        raise UserError(f"--cuda {number}: this machine has {gpus} GPUs; -1 takes the CPU")
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
        device="cpu" if number < 0 else f"cuda:{number}",
    )
    done = generate(job, progress=sys.stderr.isatty())
    before = f", {done.before} of them before" if done.before else ""
    console().print(f"{counted(done.images)} in {done.folder}{before}", soft_wrap=True)
    return report_failed(done.failed)


def _add_device(parser: Any) -> None:
    parser.add_argument(
        "--cuda",
        type=int | None,
        default=None,
        help="Number of the GPU, or -1 for the CPU; default: a GPU if there is one.",
    )


_Action = tuple[Callable[[str], Any], Callable[[Any, Any, list[str]], int]]

_ACTIONS: dict[str, _Action] = {
    "list": (_list_parser, _list),
    "train": (_train_parser, _train),
    "generate": (_generate_parser, _generate),
}
