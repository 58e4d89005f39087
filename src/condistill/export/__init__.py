"""A pipeline for other engines: ONNX, OpenVINO, the original single file, int8 weights; each run and compared."""

from condistill.export.exporting import FORMATS, default_place, export, lines

__all__ = ["FORMATS", "default_place", "export", "lines"]
