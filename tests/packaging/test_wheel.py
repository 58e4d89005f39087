"""What pip installs: the wheel and the source archive hold what they should, and the wheel runs by itself."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def call(*words: str | Path, cwd: Path) -> str:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run([str(word) for word in words], cwd=cwd, env=env, capture_output=True, text=True)
    assert found.returncode == 0, (words, found.stdout[-1000:], found.stderr[-2000:])
    return found.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source archive."""
    folder = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=ROOT)
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, source


def test_they_hold_what_they_should(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[0]) as wheel:
        names = set(wheel.namelist())
    wanted = ("py.typed", "recipes/library/emoji.yaml", "report/templates/run.html", "students/configs/sd-v1-4.json")
    assert {f"condistill/{name}" for name in wanted} <= names
    for world in ("emoji", "tones"):
        assert any(n.startswith(f"condistill/world/{world}/weights/") and n.endswith(".safetensors") for n in names)
    assert all(name.startswith("condistill") for name in names)
    with tarfile.open(built[1]) as source:
        files = {name.partition("/")[2] for name in source.getnames()}
    assert {"Makefile", "constraints.txt", "mkdocs.yml", "docs/index.md", "tests/packaging/test_wheel.py"} <= files


def test_the_wheel_runs_where_nothing_of_the_source_is(built: tuple[Path, Path], tmp_path: Path) -> None:
    call(sys.executable, "-m", "venv", "--without-pip", "clean", cwd=tmp_path)
    python = tmp_path / "clean" / "bin" / "python"
    call(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps", built[0],
         cwd=tmp_path)  # fmt: skip
    # the libraries are those that the tests run with; the source, installed there in place, comes after the wheel
    site = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = call(python, "-c", "import condistill; print(condistill.__file__)", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(site)
    assert call(tmp_path / "clean" / "bin" / "condistill", "--version", cwd=tmp_path).startswith("condistill ")
    assert "emoji" in call(python, "-m", "condistill", "ls", cwd=tmp_path)
    assert "b-base" in call(python, "-m", "condistill", "inspect", "emoji", "--student", "b-base", cwd=tmp_path)
    # typer looks for the shell that it is called from, and the tests may have been started by none
    asked = f"{python} -m condistill --show-completion; exit $?"
    assert "condistill" in call("bash", "-c", asked, cwd=tmp_path)
