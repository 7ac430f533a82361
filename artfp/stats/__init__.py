"""Hypothesis tests on decoded bits and logits, with p-values kept as natural logs.

The one assumption: the fingerprint is uniform over all bit strings of its length and was unknown to
whoever made the image. Then, given any decoded bit string, the number of matching bits is Bin(bits,
1/2), however correlated or biased the decoder's bits are, since the fingerprint alone is random.
Bit strings from a seed, from an error-correcting code, or published before the image was made do
not satisfy it.

    >>> import numpy as np
    >>> from artfp.stats import decide_source, evaluate_source
    >>> rng = np.random.default_rng(0)
    >>> fingerprints = rng.integers(0, 2, (3, 64))
    >>> logits = 2 * fingerprints[1] - 1 + rng.normal(0, 1, (20, 64))
    >>> verdict = decide_source(evaluate_source(logits, fingerprints))
    >>> verdict.outcome, verdict.best
    ('match', 1)

- `binomial`: bits that match, one image and one fingerprint; inverted bits.
- `multiple_testing`: K fingerprints and T tries (Bonferroni); images significant on their own.
- `sign_tails`, `pooling`: logits in place of bits (`log_p_soft`); many images of one source.
- `power`: the number of images that a test needs.
- `decoder_health`, `decoder_calibration`: a decoder on clean images and fixed fingerprints.
- `verdict`: match, no match or inconclusive; bounds of the odds.
- `intervals`, `formatting`: confidence bounds, area under the ROC curve; p-values as text.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
