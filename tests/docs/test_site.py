"""The pages become a site without a warning, and the Python on them runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.tiny.pipelines import sd

ROOT = Path(__file__).parents[2]
# sizes of a real run; everything else stays as the page has it
SMALLER = {
    "steps=100_000": "steps=2",
    "steps=1000": "steps=2",
    "batch=256": "batch=2",
    "batch=64": "batch=2",
    '"num_inference_steps": 25': '"num_inference_steps": 2',
}
LATENT = (4, 8, 8)
PROMPTS = ["a cat", "a dog", "a boat", "a house"]


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


PAGES = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if blocks(page)]


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    said = subprocess.run(command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True)
    assert said.returncode == 0, (said.stdout + said.stderr).decode()[-2000:]
    api = (tmp_path / "api.html").read_text("utf-8")
    assert all(f'id="condistill.{name}"' in api for name in ("generate.generate", "train.api.distill"))
    fetched = re.findall(r'(?:src|href)="(https?://[^"]+\.(?:js|css|woff2?|png))"', api)
    assert not fetched, "the site opens offline"


def test_there_are_pages_with_python() -> None:
    assert {"README.md", "own_pipeline.md"} <= {page.name for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_on_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pipeline = sd()
    for folder in ("path/to/a/pipeline", "runs/demo/student", "folder-or-hub-id"):
        pipeline.save_pretrained(folder)
    Path("captions.txt").write_text("\n".join(["a panda", "a fox", *PROMPTS]), "utf-8")
    x_t = torch.randn(len(PROMPTS), *LATENT, generator=torch.Generator().manual_seed(0))
    # what a page takes as given
    names: dict[str, object] = {
        "prompts": PROMPTS, "keys": PROMPTS, "keys_or_corpus": PROMPTS, "pipeline": pipeline, "bound": None, "x_t": x_t,
        "t": torch.tensor([999, 500, 100, 1]),
    }  # fmt: skip
    for block in blocks(page):
        code = block.replace("captions.parquet", "captions.txt")
        for large, small in SMALLER.items():
            code = code.replace(large, small)
        exec(compile(code, page.name, "exec"), names)
