"""A fitted attributor: parts that score, the model that fuses them, and the file that holds both.

The file is a `.safetensors` with a card, as all of artfp's weights (see
`artfp.watermark.weights`). Its
`kind` is KIND; `parts` has the card of each part, with a `kind` of its own by which PARTS finds the
class that reads it. A new kind of part needs an entry there and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

import artfp
from artfp.core.errors import UserError
from artfp.data.bundle import (
    CARD,
    Card,
    read_card,
    read_state,
)
from artfp.data.files import write_atomic
from artfp.passive.attributors.base import Attributor
from artfp.passive.attributors.classifier import NetworkAttributor
from artfp.passive.attributors.correlation import ResidualCorrelation
from artfp.passive.attributors.eigenface import EIGENFACE, Eigenface
from artfp.passive.attributors.nearest_neighbour import NEAREST, NearestNeighbour
from artfp.passive.attributors.score_model import ScoreModel, Values, likelihood_ratios
from artfp.passive.attributors.spectrum import SpectrumLDA
from artfp.passive.attributors.verdicts import DecisionRule
from artfp.passive.attributors.visnet import VISNET, VisNetAttributor
from artfp.passive.attributors.window import WindowPolicy

ATTRIBUTOR_KIND = "attributor"
"""`kind` in the card of an attributor's file."""

ATTRIBUTOR_FILE, ATTRIBUTOR_CARD_FILE = "attributor.safetensors", "attributor.json"
"""What is in an attributor's folder: all of it, and its card for people."""

_MODEL, _TYPICAL = "model", "typical"


class AttributorPart(Attributor, Protocol):
    """An attributor that can be written to a file and read again; `load` is a class method."""

    def card(self) -> dict[str, Any]:
        """What it is but for its tensors, as JSON values, with its `kind`."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name."""
        ...

    @classmethod
    def load(
        cls, sources: Sequence[str], card: Mapping[str, Any], tensors: Mapping[str, Tensor]
    ) -> AttributorPart:
        """What `card` and `tensors` gave. Raises KeyError, TypeError, ValueError: anything else."""
        ...


PARTS: dict[str, type[AttributorPart]] = {
    "correlation": ResidualCorrelation,
    "spectrum": SpectrumLDA,
    NEAREST: NearestNeighbour,
    EIGENFACE: Eigenface,
    VISNET: VisNetAttributor,
    NetworkAttributor.name: NetworkAttributor,
}
"""Classes of parts by the `kind` in their cards."""


class FittedAttributor:
    """An Attributor of parts whose scores one model fuses; scores are log-likelihood ratios.

    Natural logarithms, of each source against the mean of the others, without the limit of what is
    told, so that they rank images. Images of any size from the policy's window on are cut to it.
    What p-values come from, so whether an image has any of the sources, is `typical`: a model of
    the traits of a part that has some, or else the model that fuses.
    """

    def __init__(
        self,
        name: str,
        parts: Sequence[AttributorPart],
        model: ScoreModel,
        policy: WindowPolicy,
        rule: DecisionRule | None = None,
        metadata: Card | None = None,
        ood_model: ScoreModel | None = None,
    ) -> None:
        """Take parts that know the same sources; `metadata` is what else the card holds."""
        if not parts or len({part.sources for part in parts}) != 1:
            raise ValueError("the parts of an attributor must know the same sources")
        self.name, self.parts, self.model, self.policy = name, tuple(parts), model, policy
        self.sources = parts[0].sources
        self.rule, self.metadata = rule or DecisionRule(), dict(metadata or {})
        if model.shape != (len(self.sources), len(parts) * len(self.sources)):
            raise ValueError(f"a model of {model.shape} for {len(self.sources)} sources")
        self.ood_model = ood_model
        if ood_model is not None and ood_model.shape != (len(self.sources), len(self.sources)):
            raise ValueError(f"traits of {ood_model.shape} for {len(self.sources)} sources")

    def score_vectors(self, x: Tensor) -> Values:
        """All scores of all parts, then of traits (N, D), of images (N, 3, H, W) in [0, 1]."""
        return score_vectors(self.parts, self.policy.crop(x))

    def log_likelihoods(self, score_vectors: Values) -> Values:
        """Natural log-likelihoods (N, sources) of `vectors`, limited (see `ScoreModel`)."""
        return self.model.limited(self.model.log_likelihoods(self._fused(score_vectors)))

    def log_ratios(self, score_vectors: Values) -> Values:
        """Natural log-likelihood ratios (N, sources) of `vectors`, without limit: see `scores`."""
        return likelihood_ratios(self.model.log_likelihoods(self._fused(score_vectors)))

    def p_values(self, score_vectors: Values) -> Values:
        """(N, sources): the share of each source's images that fit it as badly as `vectors` do."""
        if self.ood_model is None:
            return self.model.p_values(self._fused(score_vectors))
        return self.ood_model.p_values(score_vectors[:, self.model.shape[1] :])

    def scores(self, x: Tensor) -> Tensor:
        """See Attributor."""
        return torch.from_numpy(self.log_ratios(self.score_vectors(x)))

    def _fused(self, score_vectors: Values) -> Values:
        return score_vectors[:, : self.model.shape[1]]

    def card(self) -> Card:
        """Everything but the tensors, as JSON values."""
        return {
            "kind": ATTRIBUTOR_KIND,
            "version": artfp.__version__,
            "sources": list(self.sources),
            "policy": self.policy.card(),
            "parts": [part.card() for part in self.parts],
            "alpha": self.rule.alpha,
            "confidence": self.rule.confidence,
            **self.metadata,
        }


@torch.inference_mode()
def score_vectors(parts: Sequence[Attributor], x: Tensor) -> Values:
    """Scores of several attributors, side by side (N, D), of images (N, 3, H, W) in [0, 1].

    A network's are its `columns`.
    """
    found = [
        part.score_columns(x) if isinstance(part, NetworkAttributor) else part.scores(x)
        for part in parts
    ]
    return torch.cat([each.double().cpu() for each in found], 1).numpy()


def save_attributor(attributor: FittedAttributor, folder: Path) -> list[str]:
    """Write FILE and CARD_FILE into a folder; their names. Raises UserError: it cannot be."""
    tensors = {
        f"{prefix}.{name}": torch.from_numpy(np.ascontiguousarray(array))
        for prefix, model in ((_MODEL, attributor.model), (_TYPICAL, attributor.ood_model))
        if model is not None
        for name, array in model.tensors().items()
    }
    for number, part in enumerate(attributor.parts):
        for name, tensor in part.tensors().items():
            tensors[f"{number}.{name}"] = tensor.detach().cpu().contiguous()
    card = attributor.card()
    write_atomic(folder / ATTRIBUTOR_FILE, save(tensors, metadata={CARD: json.dumps(card)}))
    write_atomic(folder / ATTRIBUTOR_CARD_FILE, json.dumps(card, indent=1) + "\n")
    return [ATTRIBUTOR_FILE, ATTRIBUTOR_CARD_FILE]


def load_attributor(place: str | Path, name: str | None = None) -> FittedAttributor:
    """Read an attributor from its folder or file; it is called `name`, or by its folder's.

    Raises UserError: there is none, or it is damaged or of another kind.
    """
    path = Path(place)
    path = path / ATTRIBUTOR_FILE if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"no attributor at {path}; make one with: artfp attribute fit FOLDER")
    card = read_card(path)
    if card.get("kind") != ATTRIBUTOR_KIND:
        raise UserError(f"{path} holds the {card.get('kind')}, not an {ATTRIBUTOR_KIND}")
    state = read_state(path)
    try:
        sources = [str(source) for source in card["sources"]]
        parts = []
        for number, own in enumerate(card["parts"]):
            if own["kind"] not in PARTS:
                raise UserError(
                    f"{path} has a part {own['kind']!r}, which this version ({artfp.__version__}) "
                    f"does not know; it was written by {card.get('version')}"
                )
            parts.append(PARTS[own["kind"]].load(sources, own, _under(state, str(number))))
        model, typical = (
            {key: tensor.numpy() for key, tensor in _under(state, prefix).items()}
            for prefix in (_MODEL, _TYPICAL)
        )
        return FittedAttributor(
            name or path.resolve().parent.name,
            parts,
            ScoreModel.from_tensors(model),
            WindowPolicy.load(card["policy"]),
            DecisionRule(card["alpha"], card["confidence"]),
            {key: value for key, value in card.items() if key not in _OWN},
            ScoreModel.from_tensors(typical) if typical else None,
        )
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is damaged ({reason}); fit the attributor again") from error


_OWN = ("kind", "version", "sources", "policy", "parts", "alpha", "confidence")


def _under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose names begin with a prefix and a dot, by the rest."""
    start = f"{prefix}."
    return {key[len(start) :]: value for key, value in state.items() if key.startswith(start)}
