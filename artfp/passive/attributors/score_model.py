"""Model of scores: likelihoods of sources from scores of several kinds, and "none of these".

All scores of an image (of a correlation, of a discriminant, K sources each) are one vector z. Held
out images of each source give the distribution of z: normal around the source's mean, with one
covariance within sources, which holds how far scores of different kinds vary together. This is the
fusion. Log-likelihoods are calibrated by a temperature (Guo et al. 2017): one factor on all, the
inverse temperature, at most 1, minimises the log loss of the held out images. Even so no ratio is
given that the held out images cannot support: of M images of other sources none may ever have had
one of more than about M to 1, so log-likelihoods end at log(M + 1) below an image's best.

Images may come in several states, such as original and recompressed, whose scores are distributed
otherwise. Each state then has means, covariance, temperature and p-values of its own. An image's
state is not known: its likelihood is the mean over the states, all as likely, and its p-value the
largest of theirs, so that at most a fraction alpha of a source's images gets alpha or less in every
state.

Whether z fits a source at all does not rest on normality. The squared distance of z from the
source's mean is compared with those of the source's own held out images, each measured as if it had
not been used. The fraction that is as far is a p-value (conformal, Vovk et al. 2005): of further
images of that source at most a fraction alpha gets alpha or less. Fewer sources than scores leave
directions in which none of them lies, and images of unknown sources do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special
from sklearn.covariance import ledoit_wolf

Values = NDArray[np.float64]

MIN_CALIBRATED = 3
"""Held out images of a source, at least. A p-value is at least 1 / (images + 1)."""

_MIN_INVERSE, _MAX_INVERSE = 1e-3, 1.0  # of the temperature
_TINY = 1e-9


@dataclass(frozen=True, eq=False)
class ScoreModel:
    """Distributions of score vectors, one for each of K sources in each of S states.

    Args:
        means: Mean scores (S, K, D).
        precision: Inverse covariances within sources (S, D, D).
        inverse_temperature: Factors on log-likelihoods (S,).
        distances: Squared distances of each source's held out images, sorted, in each state.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> labels = np.repeat([0, 1], 50)
        >>> scores = rng.normal(size=(100, 2)) + 4 * np.eye(2)[labels]
        >>> model = ScoreModel.fit(scores, labels)
        >>> model.shape, model.log_likelihoods(scores[:1]).argmax(1).tolist()
        ((2, 2), [0])
    """

    means: Values
    precision: Values
    inverse_temperature: Values
    distances: tuple[tuple[Values, ...], ...]

    @classmethod
    def fit(
        cls, scores: ArrayLike, labels: ArrayLike, states: ArrayLike | None = None
    ) -> ScoreModel:
        """Fit to held out scores.

        Args:
            scores: (N, D).
            labels: Sources (N,) of the images, 0 to K - 1.
            states: States (N,) of the images, 0 to S - 1; by default all 0.

        Raises:
            ValueError: scores that are not finite, or fewer than MIN_CALIBRATED images of
                a source in a state.
        """
        z, own = np.asarray(scores, np.float64), np.asarray(labels)
        if z.ndim != 2 or len(z) != len(own) or not np.isfinite(z).all():
            raise ValueError(f"scores: found shape {z.shape}, expected finite rows, one a label")
        count = int(own.max(initial=0)) + 1
        state = np.zeros(len(own), np.int64) if states is None else np.asarray(states)
        fitted = [
            _fit(z[state == s], own[state == s], count)
            for s in range(int(state.max(initial=0)) + 1)
        ]
        means, precisions, temperatures, distances = zip(*fitted, strict=True)
        return cls(np.stack(means), np.stack(precisions), np.array(temperatures), distances)

    @classmethod
    def from_tensors(cls, arrays: Mapping[str, NDArray[np.float64]]) -> ScoreModel:
        """Make a model of what `tensors` gave. Raises KeyError or ValueError: something else."""
        counts = np.atleast_2d(np.asarray(arrays["counts"]).astype(int))
        means = np.asarray(arrays["means"], np.float64).reshape(*counts.shape, -1)
        precision = np.asarray(arrays["precision"], np.float64)
        precision = precision.reshape(len(counts), means.shape[2], means.shape[2])
        inverse_temperature = np.asarray(arrays["temper"], np.float64).reshape(len(counts))
        distances = np.asarray(arrays["distances"], np.float64)
        ends = np.cumsum(counts)
        if ends[-1] != len(distances):
            raise ValueError(f"{len(distances)} distances, expected {ends[-1]}")
        parts = np.split(distances, ends[:-1])
        width = counts.shape[1]
        nested = tuple(tuple(parts[i : i + width]) for i in range(0, len(parts), width))
        return cls(means, precision, inverse_temperature, nested)

    def tensors(self) -> dict[str, NDArray[np.float64]]:
        """Return the whole model as float64 arrays by name."""
        return {
            "means": self.means,
            "precision": self.precision,
            "temper": self.inverse_temperature,
            "counts": np.array([list(map(len, each)) for each in self.distances], np.float64),
            "distances": np.concatenate([known for each in self.distances for known in each]),
        }

    @property
    def shape(self) -> tuple[int, int]:
        """(K, D)."""
        return self.means.shape[1], self.means.shape[2]

    @property
    def images(self) -> int:
        """Number of held out images of the source and state that has the fewest."""
        return min(len(known) for each in self.distances for known in each)

    @property
    def limit(self) -> float:
        """Largest log-likelihood ratio that the held out images can support."""
        return float(np.log(self.images * (self.shape[0] - 1) + 1))

    def log_likelihoods(self, scores: ArrayLike) -> Values:
        """Return calibrated log-likelihoods (N, K) of scores (N, D), up to a constant; no limit."""
        z = np.asarray(scores, np.float64)
        scaled = self.inverse_temperature[:, None, None] * self.precision
        volumes = 0.5 * np.linalg.slogdet(scaled)[1]
        log_densities = [
            volume - 0.5 * _distances(z, means, precision)
            for volume, means, precision in zip(
                volumes - volumes.max(), self.means, scaled, strict=True
            )
        ]
        return np.asarray(special.logsumexp(log_densities, axis=0))

    def limited(self, log_likelihoods: ArrayLike) -> Values:
        """Return log-likelihoods (N, K) relative to each image's best, at least -`limit`."""
        values = np.asarray(log_likelihoods, np.float64)
        return np.asarray(np.maximum(values - values.max(1, keepdims=True), -self.limit))

    def p_values(self, scores: ArrayLike) -> Values:
        """Return (N, K): fractions of each source's held out images as far as scores (N, D).

        In the state in which that fraction is the largest.
        """
        z = np.asarray(scores, np.float64)
        p_values = np.zeros((len(z), self.shape[0]))
        for means, precision, distances in zip(
            self.means, self.precision, self.distances, strict=True
        ):
            squared = _distances(z, means, precision)
            for k, known in enumerate(distances):
                as_far = len(known) - np.searchsorted(known, squared[:, k], side="left")
                p = (1.0 + as_far) / (1.0 + len(known))
                p_values[:, k] = np.maximum(p_values[:, k], p)
        return p_values


def likelihood_ratios(log_likelihoods: ArrayLike) -> Values:
    """Return natural log-likelihood ratios (N, K) of each source against the mean of the others."""
    values = np.asarray(log_likelihoods, np.float64)
    count = values.shape[1]
    columns = []
    for k in range(count):
        others = np.delete(values, k, axis=1)
        columns.append(values[:, k] - special.logsumexp(others, axis=1) + np.log(count - 1))
    return np.stack(columns, 1)


def posteriors(log_likelihoods: ArrayLike) -> Values:
    """Return probabilities (N, K) of the sources, if one is the true one and all are as likely."""
    return np.asarray(special.softmax(np.asarray(log_likelihoods, np.float64), axis=1))


def log_loss(log_likelihoods: ArrayLike, labels: ArrayLike) -> float:
    """Return the mean over sources of the mean -log posterior of the true one; log K by chance."""
    own = np.asarray(labels)
    log_posteriors = special.log_softmax(np.asarray(log_likelihoods, np.float64), axis=1)
    losses = -log_posteriors[np.arange(len(own)), own]
    return float(np.mean([losses[own == k].mean() for k in np.unique(own)]))


def _fit(
    z: Values, own: NDArray[np.int64], count: int
) -> tuple[Values, Values, float, tuple[Values, ...]]:
    """Fit means, precision, inverse temperature and sorted distances to scores in one state."""
    counts = np.bincount(own, minlength=count)
    if count < 2 or counts.min() < MIN_CALIBRATED:
        raise ValueError(f"held out images of sources: {counts}; each takes {MIN_CALIBRATED}")
    means = np.stack([z[own == k].mean(0) for k in range(count)])
    precision = _precision(z - means[own], len(z) - count)
    squared = _distances(z, means, precision)
    rows = np.arange(len(z))
    alone = _left_out(squared[rows, own], counts[own], len(z) - count)
    squared[rows, own] = alone
    sorted_ = tuple(np.sort(alone[own == k]) for k in range(count))
    return means, precision, _inverse_temperature(squared, own), sorted_


def _precision(within: Values, freedom: int) -> Values:
    """Return the inverse (D, D) of the shrunk covariance (Ledoit and Wolf) of rows of mean 0."""
    scale = np.sqrt(np.square(within).sum(0) / freedom)
    scale = np.where(scale > _TINY * scale.max(), scale, 1.0)
    covariance, _ = ledoit_wolf(within / scale, assume_centered=True)
    covariance = covariance * (len(within) / freedom) + _TINY * np.eye(len(covariance))
    return np.asarray(np.linalg.inv(covariance) / np.outer(scale, scale))


def _distances(z: Values, means: Values, precision: Values) -> Values:
    """Return squared Mahalanobis distances (N, K) of z (N, D) from means (K, D)."""
    offsets = z[:, None] - means
    return np.asarray(np.einsum("nkd,de,nke->nk", offsets, precision, offsets, optimize=True))


def _left_out(squared: Values, counts: NDArray[np.int64], freedom: int) -> Values:
    """Return squared distances from the own mean as if each image had been left out of the fit.

    By the formula of Sherman and Morrison; the shrinkage is taken as constant.
    """
    ratio = counts / (counts - 1.0)
    leverage = squared / freedom
    rest = np.maximum(1.0 - ratio * leverage, _TINY)
    return np.asarray(np.square(ratio) * (freedom - 1) * leverage / rest)


def _inverse_temperature(squared: Values, own: NDArray[np.int64]) -> float:
    """Return the factor on -squared / 2 with the least log loss, in which sources count alike."""

    def loss(log: float) -> float:
        return log_loss(-0.5 * np.exp(log) * squared, own)

    bounds = (np.log(_MIN_INVERSE), np.log(_MAX_INVERSE))
    return float(np.exp(optimize.minimize_scalar(loss, bounds=bounds, method="bounded").x))
