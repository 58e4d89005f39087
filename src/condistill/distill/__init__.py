"""The method: what is drawn, what is compared, one step of it."""

from condistill.callable_package import make_callable
from condistill.distill.losses import LossWeights, Terms, combine
from condistill.distill.projections import Pupil
from condistill.distill.step import Drawn, Method, distillation_step, draw

__all__ = ["Drawn", "LossWeights", "Method", "Pupil", "Terms", "combine", "distillation_step", "draw"]

make_callable(__name__, "condistill.train:distill")
