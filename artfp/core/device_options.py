"""Options that say where the work is done, and what torch and Lightning make of them."""

from __future__ import annotations

from typing import Any

from artfp.core.errors import UserError


def add_device_option(parser: Any) -> None:
    """Which device, for those who want to say it."""
    parser.add_argument(
        "--cuda",
        type=int | None,
        default=None,
        help="Number of the GPU, or -1 for the CPU; default: a GPU if there is one.",
    )


def add_lightning_options(parser: Any, training: bool = False) -> None:
    """The device, and how Lightning's Trainer uses it; of a training also when it ends."""
    add_device_option(parser)
    add = parser.add_argument
    add("--accelerator", type=str, default="auto", help="Lightning: cpu, gpu, ...")
    add("--devices", type=str, default="auto", help="Lightning: number of devices, or a list.")
    add("--num_nodes", type=int, default=1, help="Lightning: machines.")
    add("--strategy", type=str, default="auto", help="Lightning: ddp, ...")
    add("--precision", type=str, default="32-true", help="Lightning: 32-true, bf16-mixed, ...")
    if training:
        add("--max_time", type=str | None, default=None, help="Lightning: stop after DD:HH:MM:SS.")


def trainer_options(args: Any) -> dict[str, Any]:
    """Arguments of Lightning's Trainer from the run options.

    Raises UserError: a GPU that is not there.
    """
    devices = args.devices
    options: dict[str, Any] = {
        "accelerator": args.accelerator,
        "devices": int(devices) if devices.isdecimal() else devices,
        "num_nodes": args.num_nodes,
        "strategy": args.strategy,
        "precision": args.precision,
    }
    if args.cuda is not None and args.cuda < 0:
        options["accelerator"] = "cpu"
    elif args.cuda is not None:
        import torch

        if args.cuda >= torch.cuda.device_count():
            raise UserError(
                f"--cuda {args.cuda}: this machine has {torch.cuda.device_count()} GPUs; "
                "-1 takes the CPU"
            )
        options |= {"accelerator": "gpu", "devices": [args.cuda]}
    if options["accelerator"] == "cpu" and devices == "auto":
        options["devices"] = 1  # processes on one CPU are asked for by number
    return options


def torch_device(args: Any) -> str:
    """What --cuda asks for, as torch names it. Raises UserError: a GPU that is not there."""
    import torch

    gpus = torch.cuda.device_count()
    number = (0 if gpus else -1) if args.cuda is None else args.cuda
    if number >= gpus:
        raise UserError(f"--cuda {number}: this machine has {gpus} GPUs; -1 takes the CPU")
    return "cpu" if number < 0 else f"cuda:{number}"
