from .forecast import forecast_transfer as forecast_transfer
from .report import decode_generated as decode_generated
from .settings import DecodeGeneratedSettings as DecodeGeneratedSettings
from .settings import ForecastSettings as ForecastSettings
from .settings import TransferStudySettings as TransferStudySettings
from .study import transfer_study as transfer_study
