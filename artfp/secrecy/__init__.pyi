from .run import measure_secrecy as measure_secrecy
from .settings import SecrecySettings as SecrecySettings
