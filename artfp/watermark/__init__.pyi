from .api import Detection as Detection
from .api import Watermark as Watermark
from .networks.base import Decoder as Decoder
from .networks.base import Encoder as Encoder
from .networks.build import build_pair as build_pair
from .weights import load_decoder as load_decoder
from .weights import load_encoder as load_encoder
from .weights import save_network as save_network
