"""Fitted attributor: parts that score, the model that fuses them, and the file that holds both.

The file is a `.safetensors` with a card, as all of artfp's weights (`artfp.data.bundle`). Its
`kind` is ATTRIBUTOR_KIND; `parts` has the card of each part, with a `kind` of its own that names
its class (`known_parts`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

import artfp
from artfp.core.errors import UserError
from artfp.core.plugins import with_plugins
from artfp.data.bundle import CARD, Card, read_card, read_state
from artfp.data.files import write_atomic
from artfp.data.pixels import to_unit
from artfp.passive.attributors.base import Attributor, AttributorPart, FittablePart
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
"""Files in an attributor's folder: all of it, and its card for people."""

_OWN_PARTS: dict[str, type[AttributorPart]] = {
    "correlation": ResidualCorrelation,
    "spectrum": SpectrumLDA,
    NEAREST: NearestNeighbour,
    EIGENFACE: Eigenface,
    VISNET: VisNetAttributor,
    NetworkAttributor.name: NetworkAttributor,
}
_MODEL, _OOD_MODEL = "model", "typical"  # prefixes of tensors in the file
_OWN_KEYS = ("kind", "version", "sources", "policy", "parts", "alpha", "confidence")
_BATCH = 64


@cache
def known_parts() -> dict[str, type[AttributorPart]]:
    """Return the classes of parts by `kind`: artfp's own, then those of other packages."""
    return with_plugins("artfp.attributors", _OWN_PARTS, _part_class)


def fittable_parts() -> dict[str, type[FittablePart]]:
    """Return the classes of other packages that have `fit`, by `kind`."""
    return {
        kind: cast(type[FittablePart], part)
        for kind, part in known_parts().items()
        if kind not in _OWN_PARTS and hasattr(part, "fit")
    }


class FittedAttributor:
    """Attributor of parts whose scores one model fuses; scores are log-likelihood ratios.

    Natural logarithms, of each source against the mean of the others, not limited, so that they
    rank images. Images of any size from the policy's window on are cropped to it. The p-values, so
    whether an image has any of the sources, come from `ood_model`, a model of the
    out-of-distribution scores of a part that has some, or else from the model that fuses.

    Args:
        name: Name in tables.
        parts: Attributors of the same sources.
        model: Model of the parts' scores.
        policy: Crop of the images.
        rule: Decision rule of verdicts.
        metadata: Further entries of the card.
        ood_model: Model of out-of-distribution scores.

    Example:
        >>> import numpy as np, torch
        >>> rng = np.random.default_rng(0)
        >>> pixels = torch.from_numpy(rng.integers(0, 256, (8, 3, 16, 16), np.uint8))
        >>> labels = torch.tensor([0, 1] * 4)
        >>> part = NearestNeighbour(("a", "b"), pixels, labels)
        >>> model = ScoreModel.fit(rng.normal(size=(8, 2)), labels)
        >>> policy = WindowPolicy("aligned", (16, 16), (16, 16))
        >>> attributor = FittedAttributor("nearest", [part], model, policy)
        >>> attributor.scores(torch.rand(5, 3, 20, 20)).shape
        torch.Size([5, 2])
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
        """Check that parts and models have the same sources."""
        if not parts or len({part.sources for part in parts}) != 1:
            raise ValueError("the parts of an attributor must have the same sources")
        self.name, self.parts, self.model, self.policy = name, tuple(parts), model, policy
        self.sources = parts[0].sources
        self.rule, self.metadata = rule or DecisionRule(), dict(metadata or {})
        if model.shape != (len(self.sources), len(parts) * len(self.sources)):
            raise ValueError(f"a model of {model.shape} for {len(self.sources)} sources")
        self.ood_model = ood_model
        if ood_model is not None and ood_model.shape != (len(self.sources), len(self.sources)):
            raise ValueError(
                f"out-of-distribution scores of {ood_model.shape} for {len(self.sources)} sources"
            )

    def score_vectors(self, x: Tensor) -> Values:
        """Return all scores of all parts, then out-of-distribution scores, (N, D), of images."""
        return score_vectors(self.parts, self.policy.crop(x))

    def log_likelihoods(self, vectors: Values) -> Values:
        """Return log-likelihoods (N, sources) of score vectors, limited (see `ScoreModel`)."""
        return self.model.limited(self.model.log_likelihoods(self._fused(vectors)))

    def log_ratios(self, vectors: Values) -> Values:
        """Return log-likelihood ratios (N, sources) of score vectors, not limited."""
        return likelihood_ratios(self.model.log_likelihoods(self._fused(vectors)))

    def p_values(self, vectors: Values) -> Values:
        """Return (N, sources): fractions of each source's images that fit it as badly."""
        if self.ood_model is None:
            return self.model.p_values(self._fused(vectors))
        return self.ood_model.p_values(vectors[:, self.model.shape[1] :])

    def scores(self, x: Tensor) -> Tensor:
        """See Attributor."""
        return torch.from_numpy(self.log_ratios(self.score_vectors(x)))

    def _fused(self, vectors: Values) -> Values:
        return vectors[:, : self.model.shape[1]]

    def card(self) -> Card:
        """Return all but the tensors, as JSON values."""
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
    """Return the scores of several attributors side by side (N, D), of images (N, 3, H, W).

    Those of a network are its `score_columns`.
    """
    found = [
        part.score_columns(x) if isinstance(part, NetworkAttributor) else part.scores(x)
        for part in parts
    ]
    return torch.cat([each.double().cpu() for each in found], 1).numpy()


_DAMAGES = (LookupError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError)
"""Errors of reading or trying an attributor whose file is damaged."""


def fit_part(
    part: type[FittablePart],
    sources: Sequence[str],
    pixels: Tensor,
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
) -> tuple[AttributorPart, Values]:
    """Fit a part without each fold in turn, and compute held out scores with it.

    Args:
        part: Class of the part.
        sources: Names of K sources.
        pixels: Images (N, 3, H, W), uint8.
        labels: Their sources (N,), 0 to K - 1.
        folds: Their folds (N,).

    Returns:
        A part that lacks a fold of middling size, and scores (N, K) of each image by the part
        without its fold: further images get scores of the same distribution.
    """
    scores = np.empty((len(pixels), len(sources)))
    own = torch.from_numpy(labels)
    numbers, counts = np.unique(folds, return_counts=True)
    parts = []
    for fold in numbers:
        inside = torch.from_numpy(folds == fold)
        fitted = part.fit(sources, pixels[~inside], own[~inside])
        parts.append(fitted)
        batches = pixels[inside].split(_BATCH)
        found = np.concatenate([score_vectors([fitted], to_unit(batch)) for batch in batches])
        scores[inside.numpy()] = found
    return parts[int(np.argsort(counts)[len(counts) // 2])], scores


def save_attributor(attributor: FittedAttributor, folder: Path) -> list[str]:
    """Write an attributor into a folder.

    Args:
        attributor: The attributor.
        folder: The folder, which exists.

    Returns:
        The names of the files: ATTRIBUTOR_FILE and ATTRIBUTOR_CARD_FILE.

    Raises:
        UserError: a file cannot be written.

    Example:
        >>> import tempfile
        >>> pixels = torch.arange(6 * 3 * 64).remainder(251).to(torch.uint8).view(6, 3, 8, 8)
        >>> labels = torch.tensor([0, 1] * 3)
        >>> part = NearestNeighbour(("a", "b"), pixels, labels)
        >>> model = ScoreModel.fit(np.random.default_rng(0).normal(size=(6, 2)), labels)
        >>> policy = WindowPolicy("aligned", (8, 8), (8, 8))
        >>> attributor = FittedAttributor("x", [part], model, policy)
        >>> folder = Path(tempfile.mkdtemp())
        >>> save_attributor(attributor, folder)
        ['attributor.safetensors', 'attributor.json']
        >>> load_attributor(folder).sources
        ('a', 'b')
    """
    tensors = {
        f"{prefix}.{name}": torch.from_numpy(np.ascontiguousarray(array))
        for prefix, model in ((_MODEL, attributor.model), (_OOD_MODEL, attributor.ood_model))
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


def load_attributor(path: str | Path, name: str | None = None) -> FittedAttributor:
    """Read a fitted attributor.

    Args:
        path: Its folder or file.
        name: Name in tables; by default its folder's.

    Returns:
        The attributor.

    Raises:
        UserError: there is none, or it is damaged or of another kind.

    Example:
        >>> attributor = load_attributor("attributor")  # doctest: +SKIP
        >>> attributor.scores(images)  # doctest: +SKIP
    """
    path = Path(path)
    path = path / ATTRIBUTOR_FILE if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"no attributor at {path}; make one with: artfp attribute fit FOLDER")
    card = read_card(path)
    if card.get("kind") != ATTRIBUTOR_KIND:
        raise UserError(f"{path} holds the {card.get('kind')}, not an {ATTRIBUTOR_KIND}")
    state = read_state(path)
    try:
        with np.errstate(all="ignore"):
            found = _attributor(name or path.resolve().parent.name, path, card, state)
            _try(found)
        return found
    except UserError:
        raise
    except _DAMAGES as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is damaged ({reason}); fit the attributor again") from error


def _try(attributor: FittedAttributor) -> None:
    """Score an image, so that what does not fit together shows when it is read."""
    height, width = attributor.policy.window
    ramp = torch.arange(3 * height * width, dtype=torch.float32).view(1, 3, height, width)
    vectors = attributor.score_vectors(ramp % 251 / 250)
    for values in (attributor.log_likelihoods(vectors), attributor.p_values(vectors)):
        if not np.isfinite(values).all():
            raise ValueError("its scores are no numbers")


def _attributor(
    name: str, path: Path, card: Mapping[str, Any], state: Mapping[str, Tensor]
) -> FittedAttributor:
    sources = [str(source) for source in card["sources"]]
    parts = []
    for number, own in enumerate(card["parts"]):
        if own["kind"] not in known_parts():
            raise UserError(
                f"{path} has a part {own['kind']!r}, which this version ({artfp.__version__}) and "
                f"the installed plugins do not know; it was written by {card.get('version')}"
            )
        part = known_parts()[own["kind"]]
        parts.append(part.load(sources, own, _with_prefix(state, str(number))))
    model, ood_model = (
        {key: tensor.numpy() for key, tensor in _with_prefix(state, prefix).items()}
        for prefix in (_MODEL, _OOD_MODEL)
    )
    return FittedAttributor(
        name,
        parts,
        ScoreModel.from_tensors(model),
        WindowPolicy.load(card["policy"]),
        DecisionRule(card["alpha"], card["confidence"]),
        {key: value for key, value in card.items() if key not in _OWN_KEYS},
        ScoreModel.from_tensors(ood_model) if ood_model else None,
    )


def _with_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return tensors whose names begin with a prefix and a dot, by the rest."""
    start = f"{prefix}."
    return {key[len(start) :]: value for key, value in state.items() if key.startswith(start)}


def _part_class(found: Any) -> type[AttributorPart] | None:
    needed = ("scores", "card", "tensors", "load")
    is_part = isinstance(found, type) and all(hasattr(found, name) for name in needed)
    return found if is_part else None
