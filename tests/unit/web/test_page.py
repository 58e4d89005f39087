"""The page: what it refuses, what it draws, and, where there is a Chromium, the page itself in it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from condistill import Teacher
from condistill.errors import UserError
from condistill.web import Server, Studio
from tests.tiny.pipelines import sd
from tests.unit.cli.conftest import Cli
from tests.unit.cli.conftest import cli as cli

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
NAME = "<img src=x onerror=document.title='broken'>"  # of a student: a run may come from anyone


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as a finished run leaves it, with an untrained student."""
    folder = tmp_path_factory.mktemp("run")
    teacher = Teacher.from_pipeline(sd())
    teacher.save(folder / "teacher")
    teacher.student("b-base").save(folder / "student")
    call = "{num_inference_steps: 2, guidance_scale: 2.0}"
    (folder / "recipe.yaml").write_text(
        f"teacher: {folder / 'teacher'}\nstudent: b-base\ntrain: {{steps: 1}}\n"
        f"data: {{prompts: [a cat], call: {call}}}\n"
    )
    (folder / "report.html").write_text("<h1>Curves</h1><script>document.title='broken'</script>")
    return folder


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[Server]:
    """The page of that run, and of a pipeline with a hostile name."""
    hostile = run.parent / NAME.replace("/", "")
    hostile.symlink_to(run / "student", target_is_directory=True)
    with Server(Studio([run, hostile]), 0) as one:
        thread = threading.Thread(target=one.serve_forever, daemon=True)
        thread.start()
        yield one
        one.shutdown()


def asked(server: Server, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
    port = server.server_address[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    kind = {"Content-Type": "application/json"} if body is not None else {}
    content = body if isinstance(body, str | None) else json.dumps(body)
    connection.request(
        method, path, content, {**kind, **{key.replace("_", "-"): value for key, value in headers.items()}}
    )
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_it_draws_and_refuses(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1" and asked(server, "GET", "/")[0] == 200
    about = json.loads(asked(server, "GET", "/about")[1])
    assert (
        about["models"][0] == "teacher" and len(about["models"]) == 3 and about["call"] == {"steps": 2, "guidance": 2.0}
    )
    good = {"model": 1, "prompt": "a cat", "seed": 3, "steps": 1, "guidance": None}
    status, text = asked(server, "POST", "/draw", good)
    one = json.loads(text)
    assert status == 200 and one["data"].startswith("data:image/png;base64,") and one["seconds"] > 0
    assert (one["width"], one["height"]) == (16, 16)
    assert json.loads(asked(server, "POST", "/draw", good)[1])["data"] == one["data"]
    assert json.loads(asked(server, "POST", "/draw", {**good, "seed": 4})[1])["data"] != one["data"]
    for wrong in (
        {"model": 9},
        {"prompt": " "},
        {"prompt": 3},
        {"seed": -1},
        {"seed": True},
        {"steps": 10**9},
        {"guidance": "x"},
    ):
        status, text = asked(server, "POST", "/draw", {**good, **wrong})
        assert status == 400 and "must be" in json.loads(text)["error"]
    assert asked(server, "POST", "/draw", "[")[0] == asked(server, "POST", "/draw", "[1]")[0] == 400
    assert asked(server, "POST", "/draw", '{"guidance": NaN, "model": 0, "seed": 0, "prompt": "a"}')[0] == 400
    # other pages cannot use it: neither by another name of this machine nor by a form
    assert asked(server, "GET", "/", Host="evil.example")[0] == 403
    assert asked(server, "POST", "/draw", good, Origin="http://evil.example")[0] == 403
    assert asked(server, "POST", "/draw", json.dumps(good), Content_Type="text/plain")[0] == 403
    assert asked(server, "POST", "/draw", "x", Content_Length=str(10**8))[0] == 413
    for path in ("/../server.py", "/report/x", "/report/7", "/report/1", "/page.py"):
        assert asked(server, "GET", path)[0] == 404
    assert "Curves" in asked(server, "GET", "/report/0")[1]


def test_mistakes_on_the_command_line(cli: Cli, run: Path, server: Server) -> None:
    assert "no such pipeline folder" in cli("serve", "nowhere").error
    taken = server.server_address[1]
    assert "cannot be used" in cli("serve", run, "--port", taken).error
    with pytest.raises(UserError, match="no student"):
        (run.parent / "early").mkdir(exist_ok=True)
        shutil.copy(run / "recipe.yaml", run.parent / "early")
        Studio([run.parent / "early"])


class Browser:
    """A headless Chromium, driven over a pipe by its own protocol."""

    def __init__(self, profile: Path):
        (theirs, self._to), (self._from, back) = os.pipe(), os.pipe()
        flags = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --remote-debugging-pipe"
        command = ["bash", "-c", f'exec "$0" {flags} --user-data-dir="$1" about:blank 3<&{theirs} 4>&{back}']
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([*command, str(CHROMIUM), str(profile)], pass_fds=(theirs, back), **quiet)
        os.close(theirs)
        os.close(back)
        self._number, self._rest, self._session = 0, b"", {}
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}

    def ask(self, method: str, **params: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params, **self._session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                some = os.read(self._from, 65536)
                assert some, "Chromium has gone"
                self._rest += some
            text, _, self._rest = self._rest.partition(b"\0")
            answer = json.loads(text)
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]

    def value(self, expression: str) -> Any:
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait(self, expression: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not self.value(expression):
            assert time.monotonic() < end, f"not within {seconds} s: {expression}"
            time.sleep(0.1)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        os.close(self._to)
        os.close(self._from)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_in_a_browser_a_prompt_gives_a_picture_of_every_model(server: Server, tmp_path: Path) -> None:
    browser = Browser(tmp_path / "profile")
    try:
        browser.ask("Page.navigate", url=server.url)
        browser.wait("document.querySelectorAll('figure').length === 3")
        browser.value("document.getElementById('prompt').focus()")
        browser.ask("Input.insertText", text="a cat <b>bold</b>")
        browser.value("document.getElementById('draw').click()")
        browser.wait("document.getElementById('said').textContent === 'done'")
        loaded = "[...document.querySelectorAll('figure img')].filter((one) => one.naturalWidth === 16).length"
        browser.wait(f"{loaded} === 3")
        captions = browser.value("[...document.querySelectorAll('figcaption')].map((one) => one.textContent)")
        assert all(" s, " in text and "16 x 16 pixels" in text for text in captions)
        assert browser.value("document.querySelectorAll('figure b, h2 *').length") == 0
        assert browser.value("document.title") == "condistill"
        browser.value("document.querySelector('#reports a').click()")
        browser.wait("document.querySelector('h1')?.textContent === 'Curves'")
        assert browser.value("document.title") != "broken"
    finally:
        browser.close()
