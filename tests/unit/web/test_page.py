"""The page: what it refuses, what it draws, and, where there is a Chromium, the page itself in it."""

from __future__ import annotations

import http.client
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from condistill import Teacher
from condistill.errors import UserError
from condistill.web import Server, Studio
from condistill.web.studio import Asked
from tests.tiny.pipelines import sd
from tests.unit.cli.conftest import Cli
from tests.unit.cli.conftest import cli as cli
from tests.unit.web.browser import CHROMIUM, Browser

NAME = "<img src=x onerror=document.title='broken'>"  # of a student: a run may come from anyone
# the command line in a process that writes down every address but loopback that it asks for
GUARDED = """
import sys
def watch(event, args):
    host = {"socket.connect": lambda: args[1][0] if isinstance(args[1], tuple) else "127.0.0.1",
            "socket.getaddrinfo": lambda: args[0], "socket.gethostbyname": lambda: args[0]}.get(event, lambda: "")()
    if host not in ("", None, "127.0.0.1", "localhost"):
        print("asked for", host, file=sys.stderr, flush=True)
sys.addaudithook(watch)
from condistill.cli import main
sys.exit(main(sys.argv[1:]))
"""


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
    (folder / "samples").mkdir()
    (folder / "samples" / "index.json").write_text('{"groups": {"seen": ["a cat"], "unseen": ["a dog", 3]}}')
    return folder


def hostile(run: Path) -> Path:
    """The run's student under a name that means to be read as HTML."""
    link = run.parent / NAME
    if not link.is_symlink():
        link.symlink_to(run / "student", target_is_directory=True)
    return link


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[Server]:
    """The page of that run, and of a pipeline with a hostile name."""
    one = Server(Studio([run, hostile(run)]), 0)
    thread = threading.Thread(target=one.run, daemon=True)
    thread.start()
    yield one
    one.stop()
    thread.join(20)


def asked(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    port = int(server.url.rstrip("/").rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_models_draw_the_same_for_the_same_seed_and_refuse_bad_values(run: Path) -> None:
    studio = Studio([run, hostile(run)])
    assert [model.name for model in studio.models] == ["teacher", f"{run.name} / student", NAME]
    assert studio.begins_with("num_inference_steps") == 2 and studio.begins_with("guidance_scale") == 2.0
    assert Studio([run / "student"]).begins_with("num_inference_steps") == 50  # diffusers' own
    one = studio.draw(1, Asked("a cat", 3, 1))
    assert one.suffix == "png" and one.content[1:4] == b"PNG" and (one.width, one.height) == (16, 16)
    assert one.seconds > 0 and one.parameters < studio.draw(0, Asked("a cat", 3, 1)).parameters
    assert studio.draw(1, Asked("a cat", 3, 1)).content == one.content != studio.draw(1, Asked("a cat", 4, 1)).content
    assert studio.prompts() == ["a cat", "a dog"]
    for wrong in (
        Asked(" "),
        Asked(3),
        Asked("a" * 2001),
        Asked("a", -1),
        Asked("a", True),
        Asked("a", 0, 10**9),
        Asked("a", 0, 1, "x"),
        Asked("a", 0, 1, float("nan")),
    ):
        with pytest.raises(UserError, match="must be"):
            studio.draw(0, wrong)


def test_only_pages_of_its_own_may_ask(server: Server) -> None:
    assert server.url.startswith("http://127.0.0.1:")
    status, text = asked(server, "/")
    assert status == 200 and "condistill" in text
    # other pages cannot use it, neither by another name of this machine nor from where they are
    assert asked(server, "/", Host="evil.example")[0] == asked(server, "/", Origin="http://evil.example")[0] == 403
    assert asked(server, "/gradio_api/queue/join", "POST", Origin="http://evil.example")[0] == 403
    for path in (
        "/report/x",
        "/report/7",
        "/report/1",
        "/report/-1",
        "/gradio_api/file=/etc/hostname",
        "/monitoring/x",
    ):
        assert asked(server, path)[0] in (403, 404, 422), path
    assert "Curves" in asked(server, "/report/0")[1]


def test_mistakes_on_the_command_line(
    cli: Cli, run: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = cli("serve", "nowhere").error
    assert "nowhere is no run folder (it has no recipe.yaml), and no such pipeline folder" in said
    taken = server.url.rstrip("/").rpartition(":")[2]
    assert "cannot be used" in cli("serve", run, "--port", taken).error
    shutil.copy(run / "recipe.yaml", tmp_path)
    assert "no student in" in cli("serve", tmp_path).error
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert "needs gradio, which is not installed; pip install 'condistill[web]'" in cli("serve", run).error


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_in_a_browser_a_prompt_gives_a_picture_of_every_model_and_nothing_remote_is_asked_for(
    run: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", GUARDED, "serve", str(run), str(hostile(run)), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        try:
            url = process.stdout.readline().split()[-1]
            browser = Browser(tmp_path / "profile")
            try:
                _use(browser, url)
                process.send_signal(signal.SIGINT)  # with the page open
                said = process.stderr.read()
                assert process.wait(20) == 130
            finally:
                browser.close()
        finally:
            process.kill()
    lines = [line for line in said.splitlines() if "Error" in line or "Traceback" in line or "asked for" in line]
    assert lines == [] and said.strip().endswith("the page is closed; nothing was changed"), said
    assert [address for address in browser.requested if not address.startswith((url, "data:", "blob:"))] == []
    assert browser.faults == []


def _use(browser: Browser, url: str) -> None:
    browser.ask("Page.navigate", url=url)
    browser.wait("document.querySelectorAll('.shown').length === 3 && document.querySelector('#prompt textarea')")
    browser.value("document.getElementById('draw').click()")
    browser.wait("document.body.textContent.includes('the prompt must be a text of 1 to 2000 characters')")
    browser.value("document.querySelector('#prompt textarea').focus()")
    browser.ask("Input.insertText", text="a cat <b>bold</b>")
    browser.value("document.getElementById('draw').click()")
    browser.wait("[...document.querySelectorAll('.shown img')].filter((one) => one.naturalWidth === 16).length === 3")
    captions = "[...document.querySelectorAll('.caption')].map((one) => one.textContent)"
    browser.wait(f"{captions}.every((text) => text.includes(' s, ') && text.includes('16 x 16 pixels'))")
    assert browser.value("document.querySelectorAll('.shown b, img[src=x]').length") == 0
    browser.value(
        "[...document.querySelectorAll('[role=tab]')].find((one) => /Report of/.test(one.textContent)).click()"
    )
    browser.wait("performance.getEntriesByType('resource').some((one) => one.name.endsWith('/report/0'))")
    # apart from the page, since it is in a sandbox
    frames = [one["url"] for one in browser.ask("Target.getTargets")["targetInfos"] if one["type"] == "iframe"]
    assert frames == [f"{url}report/0"]
    assert browser.value("document.title") == "condistill"
