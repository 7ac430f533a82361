"""Studies of passive attribution: Marra et al. 2019, Yu et al. 2019, clusters, splices, removal."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
