from .settings import SecrecySettings as SecrecySettings
from .study import measure_secrecy as measure_secrecy
