"""A hub that is out of reach: one clear line, soon, whatever asks for it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from condistill import hub
from tests.unit.cli.conftest import Cli, written

ID = "nobody/nothing-at-all"


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of a port of this machine on which nobody listens."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CONDISTILL_CACHE", str(tmp_path / "copies"))
    with socket.socket() as bound:  # without listen(): held, and closed
        bound.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{bound.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # the tests are told to stay offline
        yield address


def test_whatever_is_asked_of_it_there_is_one_line_within_seconds(
    cli: Cli, closed: str, pipeline: Path, tmp_path: Path
) -> None:
    (tmp_path / "p.txt").write_text("a cat\n", encoding="utf-8")
    recipes = {"teacher": {"teacher": ID}, "prompts": {"data": "{prompts: hf://datasets/nobody/nothing/p.txt}"}}
    files = {}
    for name, changes in recipes.items():
        (tmp_path / name).mkdir()
        files[name] = written(tmp_path / name, pipeline, **changes)
    judged = ["--prompts", "p.txt", "--protocol", "plain", "--metrics", "inception_score"]
    for argv in (
        ["inspect", ID, "--student", "b-base"],
        ["sample", ID, "--prompts", "p.txt", "--out", "s"],
        ["cache", files["teacher"], "--out", "t"],
        ["cache", files["prompts"], "--out", "c"],
        ["evaluate", pipeline, *judged, "--backbone", f"inception={ID}"],
    ):
        begun = time.monotonic()
        error = cli(*argv).error
        assert f"nothing answers at {closed}" in error and "connection" in error, (argv, error)
        assert time.monotonic() - begun < 25, argv  # the library itself waits 31 s in all


def test_one_that_answers_is_not_taken_for_silent(monkeypatch: pytest.MonkeyPatch, closed: str) -> None:
    assert hub.silent() == f"nothing answers at {closed}"
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert hub.silent() == ""
    monkeypatch.setattr(constants, "ENDPOINT", closed)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert hub.silent() == ""  # only the library itself knows how to ask through one
