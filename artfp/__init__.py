"""artfp: artificial fingerprints that trace generated images to the model that made them.

An encoder hides a secret bit string in every image of a training set; a generative model trained
on that set reproduces it; a decoder reads it from suspicious images. Importing this package
imports no torch: import the room that you need, such as `artfp.ownership.key` or `artfp.stats`.
"""

__version__ = "0.1.0"
