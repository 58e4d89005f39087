"""How well do the students do what the teacher does? Metrics with intervals, on the same prompts and seeds for all."""

from condistill.callable_package import make_callable
from condistill.evaluate.evaluation import evaluate
from condistill.evaluate.metrics import Material, Measured, Metric, metric, metric_names
from condistill.evaluate.results import Comparison, ModelResult, Results, Score

__all__ = [
    "Comparison",
    "Material",
    "Measured",
    "Metric",
    "ModelResult",
    "Results",
    "Score",
    "evaluate",
    "metric",
    "metric_names",
]

make_callable(__name__, "condistill.evaluate.evaluation:evaluate")
