"""Attribution by a trained network: a part of an attributor, beside correlation and spectrum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from artfp.passive.attributors.traits import Traits
from artfp.passive.networks.classifier import AttributorNetwork, Design

_TRAITS = "traits."

_BATCH_PIXELS = 1 << 20
"""Height times width of all images that the network sees at once, at most."""


class NetworkAttributor:
    """An Attributor; scores are logits less their mean over the sources.

    The network sees images at full precision, in evaluation mode, on the device that they are on.
    With `traits` it also tells how far images lie from what is usual for each source.
    """

    name = "network"

    def __init__(
        self, sources: Sequence[str], network: AttributorNetwork, traits: Traits | None = None
    ) -> None:
        """Take a trained network, which is set to evaluation. ValueError: of other sources."""
        if network.sources != len(sources):
            raise ValueError(f"a network of {network.sources} for {len(sources)} sources")
        self.sources, self.traits = tuple(sources), traits
        self.network = network.eval().requires_grad_(False)

    def scores(self, x: Tensor) -> Tensor:
        """See Attributor; images are of the network's size. Raises ValueError: they are not."""
        logits = torch.cat([self.network(part) for part in self._parts(x)])
        return logits - logits.mean(1, keepdim=True)

    def columns(self, x: Tensor) -> Tensor:
        """`scores` and, with traits, beside them the scores of these (N, sources), in one pass."""
        if self.traits is None:
            return self.scores(x)
        found = []
        for part in self._parts(x):
            logits, traits = self.network.seen(part)
            found.append(
                torch.cat([logits - logits.mean(1, keepdim=True), self.traits.scores(traits)], 1)
            )
        return torch.cat(found)

    def observed(self, x: Tensor) -> Tensor:
        """The traits (N, T) of images as for `scores`."""
        return torch.cat([self.network.seen(part)[1] for part in self._parts(x)])

    def features(self, x: Tensor) -> Tensor:
        """The network's last layer but one (N, F), of images as for `scores`."""
        return torch.cat([self.network.features(part) for part in self._parts(x)])

    def card(self) -> dict[str, Any]:
        """All but the tensors, as JSON values."""
        return {"kind": self.name, "design": self.network.design.card()}

    def tensors(self) -> dict[str, Tensor]:
        """The weights, and the traits."""
        traits = {} if self.traits is None else self.traits.tensors()
        return {**self.network.state_dict(), **{_TRAITS + k: v for k, v in traits.items()}}

    @classmethod
    def load(
        cls, sources: Sequence[str], card: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> NetworkAttributor:
        """What `card` and `tensors` gave. Raises KeyError, TypeError, ValueError: anything else."""
        network = Design.load(card["design"]).build(len(sources))
        traits = {k.removeprefix(_TRAITS): v for k, v in tensors.items() if k.startswith(_TRAITS)}
        weights = {k: v for k, v in tensors.items() if not k.startswith(_TRAITS)}
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(str(error)) from error
        return cls(sources, network, Traits.from_tensors(traits, len(sources)) if traits else None)

    def _parts(self, x: Tensor) -> tuple[Tensor, ...]:
        self.network.to(x.device)
        step = max(1, _BATCH_PIXELS // max(1, x.shape[-1] * x.shape[-2]))
        return x.float().split(step)
