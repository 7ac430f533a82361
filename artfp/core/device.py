"""Settings of where the work is done, and their translation for torch and Lightning."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from artfp.core.errors import UserError
from artfp.core.options import NonNegativeInt, PositiveFloat, PositiveInt, option
from artfp.core.settings import Settings

LAST_CHECKPOINT = "checkpoints/last.ckpt"
"""Place of a training's last checkpoint in its folder."""


@dataclass(frozen=True, kw_only=True)
class DeviceSettings(Settings):
    """Device of the work.

    Args:
        cuda: Number of the GPU, or -1 for the CPU; by default a GPU if there is one.
    """

    title: ClassVar[str] = "device"

    cuda: int | str | None = option(None, metavar="INT")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.gpus  # noqa: B018 (refuses what is none)

    @property
    def gpus(self) -> tuple[int, ...] | None:
        """Numbers of the GPUs, (-1,) for the CPU, None where the choice is left to the program.

        Raises:
            UserError: --cuda is something else.
        """
        if self.cuda is None:
            return None
        parts = str(self.cuda).split(",")
        try:
            found = tuple(dict.fromkeys(int(part) for part in parts))
        except ValueError:
            found = ()
        if not found or (len(found) > 1 and min(found) < 0):
            raise UserError(
                f"--cuda is {self.cuda!r}; give the number of a GPU, several as in 0,1, or -1 for "
                "the CPU"
            )
        return found if found[0] >= 0 else (-1,)

    def torch_device(self) -> str:
        """Return the device as torch names it.

        Raises:
            UserError: there is no such GPU.
        """
        import torch

        if self.gpus is None:
            return "cuda:0" if torch.cuda.is_available() else "cpu"
        if len(self.gpus) > 1:
            raise UserError(f"--cuda {self.cuda}: this command works on one GPU; give one number")
        if self.gpus == (-1,):
            return "cpu"
        self.check_gpu()
        return f"cuda:{self.gpus[0]}"

    def check_gpu(self) -> None:
        """Raise a UserError if a GPU that was asked for does not exist."""
        import torch

        gpus = torch.cuda.device_count()
        if self.gpus is not None and max(self.gpus) >= gpus:
            raise UserError(f"--cuda {self.cuda}: this machine has {gpus} GPUs; -1 takes the CPU")


@dataclass(frozen=True, kw_only=True)
class TrainerSettings(DeviceSettings):
    """Device of the work, and Lightning's use of it.

    Args:
        cuda: Number of the GPU, several as in 0,1, or -1 for the CPU; by default GPUs if there are
            any.
        accelerator: Lightning's accelerator: cpu, gpu, ...
        devices: Lightning's number of devices, or a list of them.
        num_nodes: Number of machines.
        strategy: Lightning's strategy: ddp, ...
        precision: Lightning's precision: 32-true, bf16-mixed, ...
    """

    cuda: int | str | None = option(None, metavar="INT,...")
    accelerator: str = "auto"
    devices: str = "auto"
    num_nodes: PositiveInt = 1
    strategy: str = "auto"
    precision: str = "32-true"

    @property
    def without_effect(self) -> dict[str, str]:
        """Fields that change nothing beside the others, with the reasons."""
        found = super().without_effect
        if self.gpus is not None:
            found["accelerator"] = "--cuda says where the work is done"
            if self.gpus != (-1,):
                found["devices"] = "--cuda names the GPUs"
        return found

    def trainer_options(self) -> dict[str, Any]:
        """Return arguments of Lightning's Trainer.

        Raises:
            UserError: there is no such GPU.
        """
        devices = self.devices
        options: dict[str, Any] = {
            "accelerator": self.accelerator,
            "devices": int(devices) if devices.isdecimal() else devices,
            "num_nodes": self.num_nodes,
            "strategy": self.strategy,
            "precision": self.precision,
        }
        if self.gpus == (-1,):
            options["accelerator"] = "cpu"
        elif self.gpus is not None:
            self.check_gpu()
            options |= {"accelerator": "gpu", "devices": list(self.gpus)}
        if options["accelerator"] == "cpu" and devices == "auto":
            options["devices"] = 1  # processes on one CPU are asked for by number
        return options


@dataclass(frozen=True, kw_only=True)
class LoadingSettings(TrainerSettings):
    """Device of the work, and the loading of images for it.

    Args:
        batch_size: Images that the network sees at once.
        num_workers: Loader processes; by default as many as CPUs.
    """

    batch_size: PositiveInt = 32
    num_workers: NonNegativeInt | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingDeviceSettings(TrainerSettings):
    """Device of a training, and when it ends.

    Args:
        max_time: Time after which this run of the training stops, as DD:HH:MM:SS; --resume goes on.
            Schedules count steps: they end at --max_steps, not at that time.
    """

    max_time: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        form = r"\d+:\d\d:\d\d:\d\d"
        given = self.max_time
        if given is not None and not (re.fullmatch(form, given) and re.search("[1-9]", given)):
            raise UserError(
                f"--max_time is {self.max_time}; give days, hours, minutes and seconds as "
                "DD:HH:MM:SS, such as 00:01:30:00"
            )


@dataclass(frozen=True, kw_only=True)
class RunSettings(TrainingDeviceSettings):
    """Folder of a training, its checkpoints, and its device.

    Args:
        output_dir: Folder for everything that the training writes.
        resume: Go on from the last checkpoint in --output_dir.
        checkpoint_minutes: Minutes between checkpoints.
        seed: Seed of the weights and of all draws. It is no secret.
    """

    title: ClassVar[str] = "run"

    output_dir: Path
    resume: bool = False
    checkpoint_minutes: PositiveFloat = 10.0
    seed: NonNegativeInt = 0

    @property
    def last_checkpoint(self) -> Path:
        """File from which `resume` goes on."""
        return self.output_dir / LAST_CHECKPOINT

    def check_inputs(self) -> None:
        """Refuse images that are not there, and a folder with another training.

        Raises:
            UserError: see there.
        """
        super().check_inputs()
        self.check_folder()

    def check_folder(self) -> None:
        """Refuse a folder with a training, unless this one is to go on.

        Raises:
            UserError: it holds one.
        """
        if not self.resume and self.last_checkpoint.exists():
            raise UserError(
                f"{self.output_dir} already holds a training; add --resume to go on, or take "
                "another folder"
            )
