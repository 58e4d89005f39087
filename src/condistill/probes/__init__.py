"""Questions to a teacher: how much its condition decides, and when."""

from condistill.probes.asking import ask
from condistill.probes.kinds import Chart, Curve, Finding, Material, Pictures, Probe, probe, probe_names

__all__ = ["Chart", "Curve", "Finding", "Material", "Pictures", "Probe", "ask", "probe", "probe_names"]
