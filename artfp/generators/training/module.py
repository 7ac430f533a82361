"""The Lightning module that trains any generative model by its players' turns."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from artfp.core.errors import UserError
from artfp.data.pixels import to_unit
from artfp.generators.base import Batch, Figures, GenerativeModel, Moment, Player
from artfp.nn.ema import average_into, averaged_copy
from artfp.nn.random_draws import Draws, mixed


@dataclass(frozen=True)
class Sequel:
    """How a training differs that goes on from another.

    The model is told that its training is over: it is whole, and averaged as at the end; only the
    rates of learning begin anew. In the first `hold` steps those who train the generator wait, so
    that new networks can learn from it first.

    Args: `steps` of the training before; `kept`, what `prepare` is not to change.
    """

    steps: int
    kept: nn.Module
    hold: int = 0

    def moment(self, step: int) -> Moment:
        """What the model is told at a step of this training."""
        before = max(1, self.steps)
        return Moment(before + step, before)


class GanModule(pl.LightningModule):
    """A generative model in training; batches are 8-bit images for all turns of a step.

    A step is one round of the players. Everything random in it comes from the seed, the step and
    the process. `average` is the generator that is shown and saved: the running mean of the
    weights, or the weights themselves for a model without one.

    Args: `model`; `total_steps` of the training; `batch_size` of one turn; `seed` of the draws;
    `sequel`, if it goes on from another training.
    """

    def __init__(
        self,
        model: GenerativeModel,
        total_steps: int,
        batch_size: int,
        seed: int = 0,
        sequel: Sequel | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        # Convolutions on CPUs are a tenth to a quarter faster in this layout.
        self.model = model
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = averaged_copy(model.generator).train()  # Lightning warns of the other mode
        self.players = model.players()
        self.total_steps, self.batch_size, self.seed = total_steps, batch_size, seed
        self.sequel = sequel
        own = set(model.generator.parameters())
        waiting = [index for index, p in enumerate(self.players) if own & set(p.parameters())]
        # Where one player trains all, there is nothing to wait for.
        self._waiting = waiting if len(waiting) < len(self.players) else []

    @property
    def turns(self) -> int:
        """Most turns of a player in a step: as many times `batch_size` images make a batch."""
        return max(player.repeats for player in self.players)

    def configure_optimizers(self) -> Any:
        """One Adam for each player."""
        fused = self.device.type in ("cpu", "cuda")
        return [
            torch.optim.Adam(p.parameters(), p.rate, p.betas, p.eps, fused=fused)
            for p in self.players
        ]

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """One round of all players on 8-bit images (turns * batch_size, 3, R, R)."""
        moment = Moment(self.global_step, self.total_steps)
        told = moment if self.sequel is None else self.sequel.moment(moment.step)
        images = tuple(
            to_unit(x).contiguous(memory_format=torch.channels_last) for x in batch.images
        )
        whole = Batch(images, batch.labels)
        torch.manual_seed(self._seed(moment.step, 0))  # for what draws by itself, such as dropout
        if moment.step == 0:
            self._prepare(whole[: self.batch_size])
        self.model.begin_step(told)
        # Lightning counts the steps of wrapped optimisers: only that of the last turn is.
        counting, plain = self._listed(True), self._listed(False)
        number = 0
        for index, player in enumerate(self.players):
            if self._waits(index, moment):
                if index == len(self.players) - 1:
                    counting[index].zero_grad(set_to_none=True)
                    counting[index].step()  # without gradients it only counts
                continue
            self._only(player)
            for turn in range(player.repeats):
                number += 1
                rows = slice(turn * self.batch_size, (turn + 1) * self.batch_size)
                draws = self._draws(moment.step, number)
                loss, figures = player.loss(whole[rows], draws, told)
                last = index == len(self.players) - 1 and turn == player.repeats - 1
                optimizer = (counting if last else plain)[index]
                self._step(player, optimizer, loss, moment)
            self._log(player, loss, figures, moment)
        average_into(self.average, self.model.generator, self.model.decay(told))

    def _waits(self, index: int, moment: Moment) -> bool:
        """Whether a player has no turn in this step."""
        hold = 0 if self.sequel is None else self.sequel.hold
        return moment.step < hold and index in self._waiting

    def _step(self, player: Player, optimizer: Any, loss: Tensor, moment: Moment) -> None:
        """Lower a player's loss."""
        for group in optimizer.param_groups:
            group["lr"] = player.rate_at(moment, self.model.config.decay_from)
        optimizer.zero_grad(set_to_none=True)
        self.manual_backward(loss)
        if player.clip is not None:
            torch.nn.utils.clip_grad_norm_(player.parameters(), player.clip)
        optimizer.step()

    def _only(self, player: Player) -> None:
        """Freeze what other players train, so that no gradients are computed for it."""
        for other in self.players:
            for parameter in other.parameters():
                parameter.requires_grad_(False)
        for parameter in player.parameters():
            parameter.requires_grad_(True)

    def _prepare(self, batch: Batch) -> None:
        """Let the first batch set what it decides, equally in all processes."""
        kept = None if self.sequel is None else self.sequel.kept
        before = copy.deepcopy(kept.state_dict()) if kept is not None else {}
        with torch.no_grad():
            self.model.prepare(batch, self._draws(0, 0))
        if kept is not None:
            kept.load_state_dict(before)
        if self.trainer.world_size > 1:
            for tensor in (*self.model.parameters(), *self.model.buffers()):
                torch.distributed.broadcast(tensor.data, 0)

    def _draws(self, step: int, turn: int) -> Draws:
        generator = torch.Generator(self.device).manual_seed(self._seed(step, turn + 1))
        return Draws(generator, self.batch_size)

    def _seed(self, step: int, use: int) -> int:
        return mixed(self.seed, step, use, self.global_rank)

    def _listed(self, counting: bool) -> list[Any]:
        optimizers = self.optimizers(use_pl_optimizer=counting)
        return optimizers if isinstance(optimizers, list) else [optimizers]

    def _log(self, player: Player, loss: Tensor, figures: Figures, moment: Moment) -> None:
        """Write a player's figures; raise UserError where its loss is no number any more."""
        look = self.device.type == "cpu" or moment.step % 50 == 0  # it makes a GPU wait
        if look and not torch.isfinite(loss):
            raise UserError(
                f"step {moment.step}: the loss of the {player.name} is {float(loss.detach())}; "
                "take a lower rate or another seed"
            )
        self.log(f"{player.name}/loss", loss.detach(), prog_bar=True)
        self.log(f"{player.name}/rate", player.rate_at(moment, self.model.config.decay_from))
        for name, value in figures.items():
            self.log(f"{player.name}/{name}", value.detach().float())
