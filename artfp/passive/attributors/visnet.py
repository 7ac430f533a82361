"""Attribution by fingerprints that a network has learned (`artfp.passive.networks.visnet`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from artfp.passive.attributors.classifier import build_network, network_batches
from artfp.passive.networks.visnet import Size, VisNet

VISNET = "visnet"
"""`kind` in the card."""


class VisNetAttributor:
    """Attributor by a VisNet; scores are logits less their mean over the sources.

    The network sees images at full precision, in evaluation mode, on the device that they are on.
    """

    name = VISNET

    def __init__(self, sources: Sequence[str], network: VisNet) -> None:
        """Take a trained network, which is set to evaluation. ValueError: of other sources."""
        if network.sources != len(sources):
            raise ValueError(f"a network of {network.sources} for {len(sources)} sources")
        self.sources = tuple(sources)
        self.network = network.eval().requires_grad_(False)

    def scores(self, x: Tensor) -> Tensor:
        """See Attributor; images are of the network's size. Raises ValueError: they are not."""
        logits = torch.cat([self.network(part) for part in network_batches(self.network, x)])
        return logits - logits.mean(1, keepdim=True)

    def card(self) -> dict[str, Any]:
        """Return all but the tensors, as JSON values."""
        return {
            "kind": VISNET,
            "resolution": self.network.resolution,
            "width": self.network.width,
            "size": self.network.size,
            "weights": self.network.weights,
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights by name; `fingerprints` are the sources'."""
        return dict(self.network.state_dict())

    @classmethod
    def load(
        cls, sources: Sequence[str], card: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> VisNetAttributor:
        """See AttributorPart."""
        resolution, width = int(card["resolution"]), int(card["width"])
        size: Size = "published" if card.get("size") == "published" else "compact"
        network = build_network(lambda: VisNet(len(sources), resolution, width, size), tensors)
        return cls(sources, network)
