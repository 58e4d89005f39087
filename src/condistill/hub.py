"""Whether the Hugging Face hub answers: asked once, before its library asks it five times over half a minute."""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.request
from urllib.parse import urlsplit

SECONDS = 4.0  # to be connected; its library waits ten for an answer, and that five times


def silent() -> str:
    """Why nothing can be had from the hub, where nothing answers; "" where something does.

    Copies of what was fetched before can be used either way. Through a proxy only the library itself can ask, and what
    was told to stay offline asks nobody: "" as well.
    """
    from huggingface_hub import constants

    where = urlsplit(constants.ENDPOINT)
    if constants.HF_HUB_OFFLINE or {where.scheme, "all"} & set(urllib.request.getproxies()):
        return ""
    port = where.port or (80 if where.scheme == "http" else 443)
    answered = threading.Event()

    def knock() -> None:
        with contextlib.suppress(OSError):
            socket.create_connection((where.hostname or "", port), timeout=SECONDS).close()
            answered.set()

    asking = threading.Thread(target=knock, daemon=True)  # looking a name up knows no time limit of its own
    asking.start()
    asking.join(SECONDS)
    return "" if answered.is_set() else f"nothing answers at {constants.ENDPOINT}"
