"""Run folders in, one self-contained HTML page out."""

from condistill.callable_package import make_callable
from condistill.report.page import report
from condistill.report.read import ArmLog, Pictures, Run, read_run

__all__ = ["ArmLog", "Pictures", "Run", "read_run", "report"]

make_callable(__name__, "condistill.report.page:report")
