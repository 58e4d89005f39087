"""The parts of the hub's API that an upload uses, on this machine: repositories in memory, files by commit and LFS."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_good"


@dataclass
class Hub:
    """What the server has and what it is to do.

    Attributes:
        address: of the server.
        repos: name -> settings, of those that were made.
        files: name of a repository -> path -> contents.
        objects: hash -> contents of what came by LFS.
        fails: method and beginning of the path -> the status to answer with, once; 0 hangs up.
        puts: how many objects were sent.
    """

    address: str = ""
    repos: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    fails: dict[tuple[str, str], int] = field(default_factory=dict)
    puts: int = 0

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Status and JSON of one request."""
        known = {
            ("POST", "/api/repos/create"): self._create,
            ("POST", "/api/validate-yaml"): lambda _: (200, {"errors": [], "warnings": []}),
        }
        if (method, path) in known:
            return known[method, path](body)
        if method == "PUT" and path.startswith("/objects/"):
            self.puts += 1
            oid = path.rpartition("/")[2]
            self.objects[oid] = body
            return (200, {}) if hashlib.sha256(body).hexdigest() == oid else (400, {"error": "another file"})
        if path.endswith(".git/info/lfs/objects/batch"):
            return 200, {"transfer": "basic", "objects": [self._wanted(one) for one in json.loads(body)["objects"]]}
        name = "/".join(path.split("/")[3:5])
        if name not in self.repos:
            return 404, {"error": "Repository not found"}
        if method == "GET":
            siblings = [{"rfilename": one} for one in self.files[name]]
            return 200, {"id": name, "siblings": siblings, "tags": self.repos[name].get("tags", [])}
        if path.endswith("/settings"):
            self.repos[name] |= json.loads(body)
            return 200, {}
        if "/preupload/" in path:
            asked = [one["path"] for one in json.loads(body)["files"]]
            modes = {one: "lfs" if one.endswith(".safetensors") else "regular" for one in asked}
            return 200, {"files": [{"path": k, "uploadMode": v, "shouldIgnore": False} for k, v in modes.items()]}
        return self._commit(name, body)

    def _create(self, body: bytes) -> tuple[int, Any]:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.repos:
            return 409, {"error": "You already created this model repo", "url": f"{self.address}/{name}"}
        self.repos[name], self.files[name] = asked, {".gitattributes": b""}
        return 200, {"url": f"{self.address}/{name}", "name": name}

    def _wanted(self, one: dict[str, Any]) -> dict[str, Any]:
        upload = {"upload": {"href": f"{self.address}/objects/{one['oid']}"}}
        return {**one, **({} if one["oid"] in self.objects else {"actions": upload})}

    def _commit(self, name: str, body: bytes) -> tuple[int, Any]:
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.files[name][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[name][value["path"]] = self.objects[value["oid"]]
        url = f"{self.address}/{name}/commit/{'0' * 40}"
        return 200, {"commitUrl": url, "commitOid": "0" * 40, "success": True}


@contextmanager
def running() -> Iterator[Hub]:
    """A hub that answers while the block runs."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            path = self.path.partition("?")[0]
            body = self._body()
            failing = next((key for key in hub.fails if key[0] == self.command and path.startswith(key[1])), None)
            if failing is not None and (status := hub.fails.pop(failing)) == 0:
                self.close_connection = True
                return
            if failing is not None:
                found = status, {"error": "not now"}
            elif path.startswith("/objects/") or self.headers.get("Authorization") == f"Bearer {TOKEN}":
                found = hub.answer(self.command, path, body)
            else:
                found = 401, {"error": "Invalid username or password."}
            content = json.dumps(found[1]).encode()
            self.send_response(found[0])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        do_GET = do_POST = do_PUT = _do

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield hub
        server.shutdown()
