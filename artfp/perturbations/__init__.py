"""Perturbations: each once, in a differentiable form for training and as the true operation."""

from artfp.perturbations.base import Perturbation
from artfp.perturbations.codec import Jpeg
from artfp.perturbations.geometric import Mirror, ResizeBack
from artfp.perturbations.mixture import Mixture, training_mixture
from artfp.perturbations.photometric import Blur, Brightness, Contrast, Noise

__all__ = [
    "Blur",
    "Brightness",
    "Contrast",
    "Jpeg",
    "Mirror",
    "Mixture",
    "Noise",
    "Perturbation",
    "ResizeBack",
    "training_mixture",
]
