"""The page's server: loopback only, only for pages that it served itself, and asking nothing of any network."""

from __future__ import annotations

import importlib.util
import os
import socket
import tempfile
from typing import TYPE_CHECKING

from condistill.errors import UserError
from condistill.web.studio import Studio

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = "127.0.0.1"
# the browser too is told to load from nowhere else; gradio's page has scripts and styles within itself
_PAGE = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
# a report is one self-contained page without scripts, shown inside ours
_REPORT = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; frame-ancestors 'self'; sandbox"
)


class Server:
    """Serves one studio on 127.0.0.1.

    Args:
        studio: what is shown.
        port: 0 takes any free one.

    Raises:
        UserError: gradio is not installed; the port is taken or not ours to take.
    """

    def __init__(self, studio: Studio, port: int):
        if importlib.util.find_spec("gradio") is None:
            raise UserError("the page needs gradio, which is not installed; pip install 'condistill[web]'")
        try:
            self._socket = socket.create_server((LOOPBACK, port))
        except (OSError, OverflowError) as error:
            raise UserError(
                f"port {port} cannot be used ({error}); choose another --port, or 0 for any free one"
            ) from None
        self._folder = tempfile.TemporaryDirectory(prefix="condistill-serve-")
        # gradio reads these when it is imported and when a page is made: it counts its users and asks for its newest
        # release, and keeps pictures in a folder that all users of a machine share
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": self._folder.name}
        import uvicorn

        config = uvicorn.Config(
            OnlyOurs(_app(studio, self._folder.name), port=self._socket.getsockname()[1]),
            ws="none",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=1,  # an open page holds a stream that never ends
        )
        self._server, self._is_stopped = uvicorn.Server(config), False

    @property
    def url(self) -> str:
        """The page's address."""
        return f"http://{LOOPBACK}:{self._socket.getsockname()[1]}/"

    def run(self) -> None:
        """Serves until it is stopped.

        Raises:
            KeyboardInterrupt: by Ctrl-C, after the connections were closed.
        """
        try:
            self._server.run(sockets=[self._socket])
            if not self._is_stopped:  # where the process was started with Ctrl-C ignored
                raise KeyboardInterrupt
        finally:
            self._socket.close()
            self._folder.cleanup()

    def stop(self) -> None:
        """Ends `run`, which another thread is in."""
        self._is_stopped = self._server.should_exit = True


class OnlyOurs:
    """Answers who asks by our own name, and no page from elsewhere that means to use the server.

    Args:
        app: what answers.
        port: ours.
    """

    def __init__(self, app: ASGIApp, *, port: int):
        self.app = app
        self.hosts = {f"{name}:{port}" for name in (LOOPBACK, "localhost")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import Headers, MutableHeaders
        from starlette.responses import PlainTextResponse

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", _PAGE)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
            await send(message)

        if scope["type"] != "http":  # only the start and the end: websockets are off
            return await self.app(scope, receive, send)
        asked = Headers(scope=scope)
        origin = asked.get("Origin")
        is_ours = asked.get("Host") in self.hosts and (origin is None or origin.removeprefix("http://") in self.hosts)
        await (self.app if is_ours else PlainTextResponse("Forbidden", 403))(scope, receive, guarded)


def _app(studio: Studio, folder: str) -> FastAPI:
    import gradio
    from fastapi import FastAPI, Response

    from condistill.web.page import CSS, page, theme

    app = FastAPI(openapi_url=None)

    @app.get("/report/{number}")
    def report(number: int) -> Response:
        file = studio.reports()[number][1] if 0 <= number < len(studio.reports()) else None
        if file is None or not file.is_file():
            return Response("Not Found", 404)
        headers = {"Content-Security-Policy": _REPORT, "Cache-Control": "no-store"}
        return Response(file.read_bytes(), media_type="text/html", headers=headers)

    return gradio.mount_gradio_app(
        app,
        page(studio, folder),
        path="/",
        server_name=LOOPBACK,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size="1kb",
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme(),
        css=CSS,
    )
