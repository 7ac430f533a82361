"""Hypothesis tests on decoded bits and logits, with p-values kept as natural logs.

The one assumption: the key is uniform over all words of its length and was unknown to whoever
made the image. Then, given any decoded word, the number of matching bits is Bin(bits, 1/2),
however correlated or biased the decoder's bits are, since the key alone is random. Words from a
seed, from an error-correcting code, or published before the image was made do not satisfy it.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> keys = rng.integers(0, 2, (3, 64))
    >>> logits = 2 * keys[1] - 1 + rng.normal(0, 1, (20, 64))
    >>> verdict = decide_source(evaluate_source(logits, keys))
    >>> verdict.outcome, verdict.best
    ('match', 1)

- `counting`: bits that match, one image and one key; inverted words.
- `multiple`: K keys and T tries (Bonferroni); the share of images that stand alone.
- `signs`, `soft`: logits in place of bits; `log_p_soft` is the one to use.
- `source`: many images of one suspected source.
- `power`: how many images it takes.
- `health`, `calibration`, `pooled`: a decoder on clean images, and the law of a fixed key.
- `odds`, `verdict`: what may be said in the end.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
