"""Options that everything shares that trains generative models or runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from artfp.core.device_options import add_lightning_options
from artfp.generators.settings import GeneratorTrainingSettings


def add_training_options(parser: Any) -> None:
    """Which model, on which images, for how long, on what machine."""
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
    add("--resolution", type=int | None, default=None, help="Pixels a side; default: 32.")
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
    add("--limit", type=int | None, default=None, help="At most so many images, drawn by name.")
    add("--seed", type=int, default=0, help="Decides weights and draws.")
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
    add_lightning_options(parser, training=True)


def training_of(args: Any) -> GeneratorTrainingSettings:
    """Return the settings of a training from its options."""
    return GeneratorTrainingSettings(
        model=args.name,
        data_dir=args.data_dir,
        data_dir_b=args.data_dir_b,
        output_dir=Path(args.output_dir),
        size=args.size,
        resolution=args.resolution,
        changes=tuple((args.set or "").split(",")),
        max_steps=args.max_steps,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        seed=args.seed,
        mirror=args.mirror,
        use_celeba_preprocessing=args.use_celeba_preprocessing,
        limit=args.limit,
        sample_every=args.sample_every,
        keep_every=args.keep_every,
        checkpoint_minutes=args.checkpoint_minutes,
        cuda=args.cuda,
        accelerator=args.accelerator,
        devices=args.devices,
        num_nodes=args.num_nodes,
        strategy=args.strategy,
        precision=args.precision,
        max_time=args.max_time,
    )
