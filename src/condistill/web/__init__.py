"""A page on loopback: teacher and students side by side, by the standard library alone.

gradio, which would be the usual way, does not install beside the versions that this package is tested with: its release
6.31 wants pillow below 13 and tomlkit below 0.15.
"""

from condistill.web.server import Server
from condistill.web.studio import Studio

__all__ = ["Server", "Studio"]
