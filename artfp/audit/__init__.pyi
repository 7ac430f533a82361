from .detection import DecodedImage as DecodedImage
from .detection import DetectionResult as DetectionResult
from .detection import detect_folder as detect_folder
from .power_report import ImagesNeeded as ImagesNeeded
from .power_report import images_needed as images_needed
from .settings import DetectSettings as DetectSettings
from .settings import PowerSettings as PowerSettings
