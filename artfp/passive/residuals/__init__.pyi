from .extractor import Extractor as Extractor
from .extractor import ResidualFunction as ResidualFunction
from .extractor import known_extractors as known_extractors
from .extractor import load_extractor as load_extractor
