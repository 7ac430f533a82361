"""Lightning module that trains any generative model by the losses of its networks."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from artfp.core.lightning import check_loss
from artfp.data.pixels import to_unit
from artfp.generators.base import GenerativeModel
from artfp.generators.trained_network import DataBatch, Scalars, TrainedNetwork, TrainingStep
from artfp.nn.ema import ema_copy, update_ema
from artfp.nn.random_inputs import RandomInputs, derive_seed


@dataclass(frozen=True)
class FineTuning:
    """Continuation of another training, by fine-tuning.

    The model sees a training that is over: it is whole, and averaged as at the end; only the
    learning rates begin anew. In the first `freeze_steps` steps the networks that train the
    generator are frozen, so that new networks can learn from it first.

    Args:
        steps: Steps of the training before.
        trained: Module that `GenerativeModel.prepare` must not change.
        freeze_steps: First steps in which the generator is frozen.
    """

    steps: int
    trained: nn.Module
    freeze_steps: int = 0

    def seen(self, step: TrainingStep) -> TrainingStep:
        """Return the step that the model sees at a step of this training."""
        before = max(1, self.steps)
        return TrainingStep(before + step.index, before)


class GenerativeModule(pl.LightningModule):
    """Generative model in training; a batch has 8-bit images for all updates of a step.

    A step updates all trained networks. Everything random in it comes from the seed, the step and
    the process.

    Args:
        model: Model to train.
        total_steps: Steps of the training.
        batch_size: Images of one update.
        seed: Seed of the random inputs.
        fine_tuning: Continuation of another training, if it is one.

    Attributes:
        ema_generator: Generator that is shown and saved: with the moving average of the weights, or
            the weights themselves for a model without one.
    """

    def __init__(
        self,
        model: GenerativeModel,
        total_steps: int,
        batch_size: int,
        seed: int = 0,
        fine_tuning: FineTuning | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = model
        # Convolutions on CPUs are a tenth to a quarter faster in this layout.
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema_generator = ema_copy(model.generator).train()  # Lightning warns about eval mode
        self.networks = model.trained_networks()
        self.total_steps, self.batch_size, self.seed = total_steps, batch_size, seed
        self.fine_tuning = fine_tuning
        generator = set(model.generator.parameters())
        trains_it = [i for i, n in enumerate(self.networks) if generator & set(n.parameters())]
        # Where one network trains all, there is nothing to wait for.
        self._frozen_first = trains_it if len(trains_it) < len(self.networks) else []

    @property
    def updates_per_step(self) -> int:
        """Most updates of a network in a step: a batch has so many times `batch_size` images."""
        return max(network.updates_per_step for network in self.networks)

    def configure_optimizers(self) -> Any:
        """Return an Adam for each network."""
        fused = self.device.type in ("cpu", "cuda")
        return [
            torch.optim.Adam(n.parameters(), n.lr, n.betas, n.eps, fused=fused)
            for n in self.networks
        ]

    def training_step(self, batch: DataBatch, batch_idx: int) -> None:
        """Update all networks on 8-bit images (updates_per_step * batch_size, 3, R, R)."""
        step = TrainingStep(self.global_step, self.total_steps)
        seen = step if self.fine_tuning is None else self.fine_tuning.seen(step)
        images = tuple(
            to_unit(x).contiguous(memory_format=torch.channels_last) for x in batch.images
        )
        whole = DataBatch(images, batch.labels)
        torch.manual_seed(self._seed(step.index, 0))  # for layers that draw themselves: dropout
        if step.index == 0:
            self._prepare(whole[: self.batch_size])
        self.model.begin_step(seen)
        # Lightning counts the steps of wrapped optimisers: only the last of a step is wrapped.
        counting, plain = self._optimizers(True), self._optimizers(False)
        number = 0
        for index, network in enumerate(self.networks):
            last_network = index == len(self.networks) - 1
            if self._is_frozen(index, step):
                if last_network:
                    counting[index].zero_grad(set_to_none=True)
                    counting[index].step()  # without gradients it only counts
                continue
            self._unfreeze_only(network)
            for update in range(network.updates_per_step):
                number += 1
                rows = slice(update * self.batch_size, (update + 1) * self.batch_size)
                rng = self._random_inputs(step.index, number)
                loss, scalars = network.loss(whole[rows], rng, seen)
                name = f"the loss of the {network.name}"
                check_loss(self, loss, name, "take a lower learning rate or another seed")
                last = last_network and update == network.updates_per_step - 1
                self._update(network, (counting if last else plain)[index], loss, step)
            self._log(network, loss, scalars, step)
        decay = self.model.ema_decay_at(seen)
        update_ema(self.ema_generator, self.model.generator, decay)

    def _is_frozen(self, index: int, step: TrainingStep) -> bool:
        """Return True if a network is not updated in this step."""
        freeze_steps = 0 if self.fine_tuning is None else self.fine_tuning.freeze_steps
        return step.index < freeze_steps and index in self._frozen_first

    def _update(
        self, network: TrainedNetwork, optimizer: Any, loss: Tensor, step: TrainingStep
    ) -> None:
        for group in optimizer.param_groups:
            group["lr"] = network.lr_at(step, self.model.config.lr_decay_start)
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        if network.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(network.parameters(), network.max_grad_norm)
        optimizer.step()

    def _unfreeze_only(self, network: TrainedNetwork) -> None:
        """Freeze all other networks, so that no gradients are computed for them."""
        for other in self.networks:
            for parameter in other.parameters():
                parameter.requires_grad_(False)
        for parameter in network.parameters():
            parameter.requires_grad_(True)

    def _prepare(self, batch: DataBatch) -> None:
        """Let the first batch initialise what depends on data, equally in all processes."""
        trained = None if self.fine_tuning is None else self.fine_tuning.trained
        before = copy.deepcopy(trained.state_dict()) if trained is not None else {}
        with torch.no_grad():
            self.model.prepare(batch, self._random_inputs(0, 0))
        if trained is not None:
            trained.load_state_dict(before)
        if self.trainer.world_size > 1:
            for tensor in (*self.model.parameters(), *self.model.buffers()):
                torch.distributed.broadcast(tensor.data, 0)

    def _random_inputs(self, step: int, update: int) -> RandomInputs:
        generator = torch.Generator(self.device).manual_seed(self._seed(step, update + 1))
        return RandomInputs(generator, self.batch_size)

    def _seed(self, step: int, use: int) -> int:
        return derive_seed(self.seed, step, use, self.global_rank)

    def _optimizers(self, counting: bool) -> list[Any]:
        optimizers = self.optimizers(use_pl_optimizer=counting)
        return optimizers if isinstance(optimizers, list) else [optimizers]

    def _log(
        self, network: TrainedNetwork, loss: Tensor, scalars: Scalars, step: TrainingStep
    ) -> None:
        """Log a network's scalars."""
        self.log(f"{network.name}/loss", loss.detach(), prog_bar=True)
        self.log(f"{network.name}/lr", network.lr_at(step, self.model.config.lr_decay_start))
        for name, value in scalars.items():
            self.log(f"{network.name}/{name}", value.detach().float())
