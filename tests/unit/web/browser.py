"""A headless Chromium for the tests of the page."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
_FLAGS = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --remote-debugging-pipe"


class Browser:
    """Chromium, driven over a pipe by its own protocol.

    Args:
        profile: a folder that it may make.

    Attributes:
        requested: the addresses that its page has asked for.
        faults: what its page's scripts have thrown.
    """

    def __init__(self, profile: Path):
        (theirs, self._to), (self._from, back) = os.pipe(), os.pipe()
        command = ["bash", "-c", f'exec "$0" {_FLAGS} --user-data-dir="$1" about:blank 3<&{theirs} 4>&{back}']
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([*command, str(CHROMIUM), str(profile)], pass_fds=(theirs, back), **quiet)
        os.close(theirs)
        os.close(back)
        self.requested: list[str] = []
        self.faults: list[Any] = []
        self._number, self._rest, self._session = 0, b"", {}
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Network", "Runtime", "Page"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> Any:
        """The result of one command."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params, **self._session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("method") == "Network.requestWillBeSent":
                self.requested.append(answer["params"]["request"]["url"])
            if answer.get("method") == "Runtime.exceptionThrown":
                self.faults.append(answer["params"]["exceptionDetails"])
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self) -> Any:
        while b"\0" not in self._rest:
            some = os.read(self._from, 65536)
            assert some, "Chromium has gone"
            self._rest += some
        text, _, self._rest = self._rest.partition(b"\0")
        return json.loads(text)

    def value(self, expression: str) -> Any:
        """Of an expression in the page."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait(self, expression: str, seconds: float = 90) -> None:
        """Until the expression is true."""
        end = time.monotonic() + seconds
        while not self.value(f"!!({expression})"):
            assert time.monotonic() < end, f"not within {seconds} s: {expression}; {self.faults}"
            time.sleep(0.1)

    def close(self) -> None:
        """Ends it."""
        self.process.terminate()
        self.process.wait(20)
        os.close(self._to)
        os.close(self._from)
