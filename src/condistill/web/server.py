"""The page's server: loopback only, and only for pages that it served itself."""

from __future__ import annotations

import json
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from condistill.errors import UserError
from condistill.web.studio import Studio

LOOPBACK = "127.0.0.1"
MAX_BODY = 64 * 1024
_FILES = {
    "/": ("page.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
_PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; media-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# a report is one self-contained page without scripts
_REPORT = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; sandbox"


class Server(ThreadingHTTPServer):
    """Serves one studio on 127.0.0.1.

    Args:
        studio: what is shown.
        port: 0 takes any free one.

    Raises:
        UserError: the port is taken or not ours to take.
    """

    daemon_threads = True

    def __init__(self, studio: Studio, port: int):
        self.studio = studio
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UserError(
                f"port {port} cannot be used ({error}); choose another --port, or 0 for any free one"
            ) from None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing for a page that was closed while it waited; a bug shows its traceback and the page goes on."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{LOOPBACK}:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    server: Server  # type: ignore[assignment]
    server_version, sys_version = "condistill", ""

    def do_GET(self) -> None:
        """A file of the page, what it shows, or a report."""
        if not self._is_ours():
            return self._refuse(HTTPStatus.FORBIDDEN)
        if self.path in _FILES:
            name, kind = _FILES[self.path]
            return self._answer((Path(__file__).parent / name).read_bytes(), kind)
        if self.path == "/about":
            return self._json(self.server.studio.about())
        start, _, number = self.path.rpartition("/")
        runs = self.server.studio.runs
        if start == "/report" and number.isascii() and number.isdigit() and int(number[:6]) < len(runs):
            report = runs[int(number[:6])] / "report.html"
            if report.is_file():
                return self._answer(report.read_bytes(), "text/html", policy=_REPORT)
        return self._refuse(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """One picture."""
        length = self.headers.get("Content-Length", "")
        # a form of another page cannot send this kind of content
        is_json = self.headers.get("Content-Type", "").partition(";")[0].strip() == "application/json"
        if not self._is_ours() or not is_json:
            return self._refuse(HTTPStatus.FORBIDDEN)
        if self.path != "/draw":
            return self._refuse(HTTPStatus.NOT_FOUND)
        if not (length.isascii() and length.isdigit()) or int(length[:9]) > MAX_BODY:
            return self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        try:
            asked = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            return self._json({"error": "this is no JSON"}, HTTPStatus.BAD_REQUEST)
        if not isinstance(asked, dict):
            return self._json({"error": "an object is wanted"}, HTTPStatus.BAD_REQUEST)
        try:
            return self._json(self.server.studio.draw(asked))
        except UserError as error:
            return self._json({"error": str(error)}, HTTPStatus.BAD_REQUEST)

    def _is_ours(self) -> bool:
        """Whether it was asked by our own name, and not by a page from elsewhere that means to use it."""
        port = self.server.server_address[1]
        ours = {f"{name}:{port}" for name in (LOOPBACK, "localhost")}
        origin = self.headers.get("Origin")
        return self.headers.get("Host") in ours and (origin is None or origin.removeprefix("http://") in ours)

    def _json(self, value: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._answer(json.dumps(value).encode(), "application/json", status=status)

    def _refuse(self, status: HTTPStatus) -> None:
        self._answer(status.phrase.encode(), "text/plain", status=status)

    def _answer(self, body: bytes, kind: str, *, status: HTTPStatus = HTTPStatus.OK, policy: str = _PAGE) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what is asked is the user's own business."""
