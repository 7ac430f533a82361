from .measure import ComparisonResult as ComparisonResult
from .settings import CompareSettings as CompareSettings
from .study import compare_attribution as compare_attribution
