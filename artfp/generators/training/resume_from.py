"""The trained generator, or the whole training, that another training goes on from."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from artfp.core.errors import UserError
from artfp.core.lightning import last_checkpoint
from artfp.data.bundle import Card
from artfp.data.files import file_hash
from artfp.generators.base import Generator
from artfp.generators.training.module import GanModule, Sequel
from artfp.generators.weights import load_generator

GENERATOR = "generator.safetensors"

HOLD = 100
"""Steps that new networks learn alone, beside a generator that is trained already.

For a DCGAN at 32 px they kept the images as good as they were; without them these grew worse.
"""

# What torch.load raises for bytes that are no checkpoint.
_UNREADABLE = (pickle.UnpicklingError, EOFError, OSError, RuntimeError, LookupError, ValueError,
               TypeError, AttributeError)  # fmt: skip


@dataclass(frozen=True)
class Origin:
    """Where a training goes on from: see `open_origin`.

    Args: `generator` with its `card`; `networks`, the state of all networks and the averaged
    generator, None for a generator alone; `steps` that these were trained for; `hashes`, SHA-256 of
    the files by what they hold.
    """

    generator: Generator
    card: Card
    steps: int
    hashes: dict[str, str]
    networks: dict[str, Tensor] | None = None

    @property
    def hold(self) -> int:
        """For how many steps the generator better waits: none where all networks are trained."""
        return HOLD if self.networks is None else 0

    def sequel(self, module: GanModule, hold: int) -> Sequel:
        """Put the weights into a new module, and how it is to go on.

        Optimisers start anew. Raises UserError: they do not fit.
        """
        try:
            if self.networks is not None:
                module.load_state_dict(self.networks)
                return Sequel(self.steps, module.model, hold)
            for generator in (module.model.generator, module.average):
                generator.load_state_dict(self.generator.state_dict())
            return Sequel(self.steps, module.model.generator, hold)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"init does not fit the model with these settings: {reason}") from error

    def told(self) -> dict[str, Any]:
        """What a card says of it."""
        altered = {"altered": self.card["altered"]} if "altered" in self.card else {}
        return {"steps": self.steps, **self.hashes, **altered}


def open_origin(place: str | Path) -> Origin:
    """A generator's file; or the folder of a training, with its other networks from its checkpoint.

    Raises UserError: neither is there.
    """
    path = Path(place)
    if not path.is_dir():
        generator, card = load_generator(path)
        steps = int(card.get("step", generator.config.steps))
        return Origin(generator, card, steps, {"generator_sha256": file_hash(path)})
    generator, card = load_generator(path / GENERATOR)
    last = last_checkpoint(path)
    if not last.is_file():
        raise UserError(
            f"no checkpoint at {last}; to go on from the generator alone, give its file"
        )
    try:
        saved = torch.load(last, map_location="cpu", weights_only=True)
        networks, steps = dict(saved["state_dict"]), int(saved["global_step"])
    except _UNREADABLE as error:
        raise UserError(f"{last} is not a readable checkpoint; give a generator's file") from error
    hashes = {"generator_sha256": file_hash(path / GENERATOR), "checkpoint_sha256": file_hash(last)}
    return Origin(generator, card, steps, hashes, networks)
