"""Perturbations: each once, in a differentiable form for training and as the real operation."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
