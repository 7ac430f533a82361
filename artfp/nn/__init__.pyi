from .ema import ema_copy as ema_copy
from .ema import update_ema as update_ema
from .random_inputs import ImageRandomInputs as ImageRandomInputs
from .random_inputs import RandomInputs as RandomInputs
