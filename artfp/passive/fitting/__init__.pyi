from .image_set import ImageSet as ImageSet
from .leakage import Leakage as Leakage
from .leakage import find_leakage as find_leakage
from .select import FitOptions as FitOptions
from .select import FitResult as FitResult
from .select import fit_methods as fit_methods
