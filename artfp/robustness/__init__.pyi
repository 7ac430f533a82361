from .methods import Method as Method
from .methods import known_methods as known_methods
from .methods import load_method as load_method
from .run import robustness_sweep as robustness_sweep
from .settings import RobustnessSettings as RobustnessSettings
from .third_party import ThirdPartyWatermark as ThirdPartyWatermark
