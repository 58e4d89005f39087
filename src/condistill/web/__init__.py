"""A page on loopback, by gradio: teacher and students side by side, and the reports of their runs."""

from condistill.web.server import Server
from condistill.web.studio import Studio

__all__ = ["Server", "Studio"]
