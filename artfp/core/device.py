"""Settings of where the work is done, and their translation for torch and Lightning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from artfp.core.errors import UserError
from artfp.core.settings import NonNegativeInt, PositiveFloat, PositiveInt, Settings


@dataclass(frozen=True, kw_only=True)
class DeviceSettings(Settings):
    """Device of the work.

    Args:
        cuda: Number of the GPU, or -1 for the CPU; by default a GPU if there is one.
    """

    title: ClassVar[str] = "device"

    cuda: int | None = None

    def torch_device(self) -> str:
        """Return the device as torch names it.

        Raises:
            UserError: there is no such GPU.
        """
        import torch

        number = (0 if torch.cuda.is_available() else -1) if self.cuda is None else self.cuda
        if number >= 0:
            self.check_gpu()
        return "cpu" if number < 0 else f"cuda:{number}"

    def check_gpu(self) -> None:
        """Raise a UserError if the GPU that was asked for does not exist."""
        import torch

        gpus = torch.cuda.device_count()
        if self.cuda is not None and self.cuda >= gpus:
            raise UserError(f"--cuda {self.cuda}: this machine has {gpus} GPUs; -1 takes the CPU")


@dataclass(frozen=True, kw_only=True)
class TrainerSettings(DeviceSettings):
    """Device of the work, and Lightning's use of it.

    Args:
        accelerator: Lightning's accelerator: cpu, gpu, ...
        devices: Lightning's number of devices, or a list of them.
        num_nodes: Number of machines.
        strategy: Lightning's strategy: ddp, ...
        precision: Lightning's precision: 32-true, bf16-mixed, ...
    """

    accelerator: str = "auto"
    devices: str = "auto"
    num_nodes: PositiveInt = 1
    strategy: str = "auto"
    precision: str = "32-true"

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
        if self.cuda is not None and self.cuda < 0:
            options["accelerator"] = "cpu"
        elif self.cuda is not None:
            self.check_gpu()
            options |= {"accelerator": "gpu", "devices": [self.cuda]}
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
        max_time: Time after which the training stops, as DD:HH:MM:SS.
    """

    max_time: str | None = None

    def trainer_options(self) -> dict[str, Any]:
        """Return arguments of Lightning's Trainer.

        Raises:
            UserError: there is no such GPU.
        """
        return {**super().trainer_options(), "max_time": self.max_time}


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
