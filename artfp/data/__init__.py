"""Images and files in and out: sources, safe decoding, reading, tables, atomic files, resuming.

`artfp.data.predict_module` and `artfp.data.train_module` hold the LightningDataModules.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
