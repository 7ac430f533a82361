"""Trained generator, or whole training, that another training continues."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from artfp.core.checkpoints import last_checkpoint, read_checkpoint
from artfp.core.errors import UserError
from artfp.data.bundle import Card
from artfp.data.paths import file_hash
from artfp.generators.base import Generator
from artfp.generators.training.module import FineTuning, GenerativeModule
from artfp.generators.weights import load_generator

GENERATOR = "generator.safetensors"

FREEZE_STEPS = 100
"""Steps in which new networks train alone, beside a generator that is trained already.

For a DCGAN at 32 px they kept the images as good as they were; without them these grew worse.
"""


@dataclass(frozen=True)
class Pretrained:
    """Start of a training that continues another: see `load_pretrained`.

    Args:
        generator: Trained generator.
        card: Its card.
        steps: Steps that it was trained for.
        hashes: SHA-256 of the files, by what they hold.
        networks: State of all networks and the averaged generator; None for a generator alone.
    """

    generator: Generator
    card: Card
    steps: int
    hashes: dict[str, str]
    networks: dict[str, Tensor] | None = None

    @property
    def freeze_steps(self) -> int:
        """Default of the steps in which the generator is frozen: 0 if all networks are trained."""
        return FREEZE_STEPS if self.networks is None else 0

    def load_into(self, module: GenerativeModule, freeze_steps: int) -> FineTuning:
        """Load the weights into a new module; return how it continues.

        Optimisers start anew. Raises UserError: the weights do not fit.
        """
        try:
            if self.networks is not None:
                module.load_state_dict(self.networks)
                return FineTuning(self.steps, module.model, freeze_steps)
            for generator in (module.model.generator, module.ema_generator):
                generator.load_state_dict(self.generator.state_dict())
            return FineTuning(self.steps, module.model.generator, freeze_steps)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"--init does not fit the model with these settings: {reason}"
            ) from error

    def describe(self) -> dict[str, Any]:
        """Return the entry of a card."""
        altered = {"altered": self.card["altered"]} if "altered" in self.card else {}
        return {"steps": self.steps, **self.hashes, **altered}


def load_pretrained(place: str | Path) -> Pretrained:
    """Load a generator's file, or the folder of a training with all networks of its checkpoint.

    Raises UserError: there is neither.
    """
    path = Path(place)
    if not path.is_dir():
        generator, card = load_generator(path)
        steps = int(card.get("step", generator.config.steps))
        return Pretrained(generator, card, steps, {"generator_sha256": file_hash(path)})
    generator, card = load_generator(path / GENERATOR)
    last = last_checkpoint(path)
    if not last.is_file():
        raise UserError(
            f"no checkpoint at {last}; to continue with the generator alone, give its file"
        )
    saved = read_checkpoint(last)
    networks, steps = saved["state_dict"], saved["global_step"]
    hashes = {"generator_sha256": file_hash(path / GENERATOR), "checkpoint_sha256": file_hash(last)}
    return Pretrained(generator, card, steps, hashes, networks)
