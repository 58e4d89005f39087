"""The real command line in this process, and a tiny pipeline folder to try it on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from condistill.cli import main


@dataclass(frozen=True)
class Said:
    """What one command line gave."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of a user's mistake."""
        *before, last = self.err.strip().splitlines()
        assert self.code == 2 and self.out == "" and "Traceback" not in self.err, self
        assert not [line for line in before if "error" in line.lower()], self
        return last.removeprefix("condistill: error: ")


Cli = Callable[..., Said]


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs one command line in an empty current folder."""
    monkeypatch.chdir(tmp_path)

    def call(*argv: object) -> Said:
        capfd.readouterr()
        code = main([str(word) for word in argv])
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return call


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Stable Diffusion pipeline of 16 x 16 pixels."""
    from tests.tiny.pipelines import sd

    folder = tmp_path_factory.mktemp("pipeline") / "sd"
    sd().save_pretrained(folder)
    return folder


def written(folder: Path, pipeline: Path, **changes: str) -> Path:
    """A recipe file for the tiny pipeline: every section on a line, replaced by `changes`."""
    sections = {
        "teacher": str(pipeline),
        "student": "b-base",
        "data": "{prompts: [a cat, a dog, a cow, a fly], shard_items: 2, "
        "call: {num_inference_steps: 2, guidance_scale: 2.0}}",
        "train": "{steps: 2, batch: 2, checkpoint_every: 1, log_every: 1}",
        "evaluate": "{protocol: plain, prompts: {seen: [a cat]}, num_items: {seen: 1}, "
        "call: {num_inference_steps: 2, guidance_scale: 2.0}, grid: 1}",
        "compare": "{without: {p_random: never}}",
    } | changes
    file = folder / "tiny.yaml"
    file.write_text(
        "# chosen for speed\n" + "".join(f"{key}: {text}\n" for key, text in sections.items()), encoding="utf-8"
    )
    return file
