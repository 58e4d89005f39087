"""What a run finds around it: a D on which nothing can be written, a clock that was set back, other languages."""

from __future__ import annotations

import ast
import errno
import json
import locale
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from condistill import Cache, Teacher, generate
from condistill.cli import main
from condistill.lock import NAME, Lock
from condistill.train.state import steps_saved
from condistill.world import exact
from tests.unit.train.conftest import trained

SOURCE = Path(__file__).parents[3] / "src" / "condistill"
READ_ONLY: list[Path] = []  # folders that nothing in this process may change
_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.utime")


def _refuse(event: str, args: tuple[Any, ...]) -> None:
    """As a file system mounted for reading: root, as whom tests may run, may write whatever the permissions say."""
    if not READ_ONLY:
        return
    flags = args[2] if event == "open" and isinstance(args[2], int) else 0
    if event in _CHANGES or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        for path in args[:2]:
            if isinstance(path, str | os.PathLike) and any(Path(path).is_relative_to(one) for one in READ_ONLY):
                raise OSError(errno.EROFS, "Read-only file system", str(path))


sys.addaudithook(_refuse)


@pytest.fixture
def read_only(exact_cache: Cache, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "D"
    shutil.copytree(str(exact_cache.folder), folder)
    READ_ONLY.append(folder)
    yield folder
    READ_ONLY.clear()


def test_from_a_d_that_cannot_be_written_to_everything_is_read(
    exact_teacher: Teacher, exact_cache: Cache, read_only: Path, tmp_path: Path
) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in read_only.iterdir()}
    with pytest.raises(OSError, match="Read-only"):
        (read_only / "x").touch()
    keys = exact.prompts("seen", num_concepts=6)
    same = generate(exact_teacher, keys, out=read_only, num_items=256, batch=256, progress=False)  # nothing is missing
    there = trained(exact_teacher, same, tmp_path / "there", steps=2)
    here = trained(exact_teacher, exact_cache, tmp_path / "here", steps=2)
    assert all(torch.equal(v, here.network.state_dict()[name]) for name, v in there.network.state_dict().items())
    assert same.verify() == [] and {path.name: path.stat().st_mtime_ns for path in read_only.iterdir()} == before
    with pytest.raises(OSError, match="Read-only"):  # one line on the command line: test_mistakes.py
        generate(exact_teacher, keys, out=read_only, num_items=256, batch=256, repair=True, progress=False)


def test_a_clock_that_was_set_back_changes_nothing(
    exact_teacher: Teacher, exact_cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"checkpoint_every": 1, "keep_checkpoints": 2}
    whole = trained(exact_teacher, exact_cache, tmp_path / "whole", steps=4, **options)
    trained(exact_teacher, exact_cache, tmp_path / "parts", steps=2, **options)
    checkpoints = tmp_path / "parts" / "checkpoints"
    now = time.time()
    for path in (tmp_path / "parts").rglob("*"):
        os.utime(path, (now + 86400, now + 86400))
    os.utime(checkpoints / "step-00000002", (1, 1))  # the newest by its name, the oldest by its time
    monkeypatch.setattr(time, "time", lambda: now - 7 * 86400)
    parts = trained(exact_teacher, exact_cache, tmp_path / "parts", steps=4, **options)
    assert all(torch.equal(v, parts.network.state_dict()[name]) for name, v in whole.network.state_dict().items())
    assert steps_saved(checkpoints) == [3, 4]


def test_a_lock_from_the_future_is_held_and_one_whose_process_is_gone_is_not(tmp_path: Path) -> None:
    lock, other = Lock(tmp_path / NAME), Lock(tmp_path / NAME)
    assert lock.take()
    os.utime(tmp_path / NAME, (time.time() + 86400,) * 2)
    assert not other.take() and other.silent_seconds() < 0
    code = f"import os; from condistill.lock import Lock; Lock({str(tmp_path / 'gone')!r}).take(); os._exit(0)"
    subprocess.run([sys.executable, "-c", code], check=True)
    os.utime(tmp_path / "gone", (time.time() + 86400,) * 2)
    assert Lock(tmp_path / "gone").take()


def test_no_text_is_read_or_written_in_the_encoding_of_the_locale() -> None:
    found = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            words = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            is_text = (name in ("read_text", "write_text") and isinstance(node.func, ast.Attribute)) or (
                name == "open" and isinstance(node.func, ast.Name) and not any("b" in word for word in words[-1:])
            )
            if is_text and "utf-8" not in words and all(word.arg != "encoding" for word in node.keywords):
                found.append(f"{path.name}:{node.lineno}")
    assert found == []


@pytest.mark.skipif(shutil.which("localedef") is None, reason="no localedef")
@pytest.mark.parametrize("language", ["de_DE", "tr_TR"])
def test_a_decimal_comma_and_a_dotless_i_change_no_number(
    exact_teacher: Teacher, exact_cache: Cache, language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    made = tmp_path / "locales" / f"{language}.UTF-8"
    made.parent.mkdir()
    subprocess.run(["localedef", "-i", language, "-f", "UTF-8", str(made)], check=False, capture_output=True)
    if not made.is_dir():
        pytest.skip(f"{language} cannot be made here")
    monkeypatch.setenv("LOCPATH", str(made.parent))
    (tmp_path / "p.csv").write_text("caption,weight\nTITANIC 0.5,1.5\n", encoding="utf-8")
    recipe = "teacher: emoji\nstudent: b-base\ndata: {prompts: p.csv}\ntrain: {steps: 1, lr: 0.5}\n"
    (tmp_path / "r.yaml").write_text(recipe, encoding="utf-8")
    found, before = [], locale.setlocale(locale.LC_ALL)
    try:
        for name in ("C", made.name):
            locale.setlocale(locale.LC_ALL, name)
            trained(exact_teacher, exact_cache, tmp_path / name, steps=2)
            assert main(["validate", str(tmp_path / "r.yaml"), "--json"]) == 0
            rows = [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text("utf-8").splitlines()]
            found.append((capfd.readouterr().out, [row["loss"] for row in rows if row["event"] == "step"]))
        assert locale.localeconv()["decimal_point"] == ","
    finally:
        locale.setlocale(locale.LC_ALL, before)
    assert found[0] == found[1] and len(found[0][1]) == 2


def test_prompts_of_any_language_in_the_c_locale(tmp_path: Path) -> None:
    """The command line as it is where no locale is set: ASCII on every stream, and for files by default."""
    (tmp_path / "p.txt").write_text("ein Fuchs \u00fc\n\u0438\u0441\n\U0001f98a\n", encoding="utf-8")
    recipe = "teacher: emoji\nname: \u0131\u015f\nstudent: b-base\ndata: {prompts: p.txt}\ntrain: {steps: 1, lr: 0,5}\n"
    (tmp_path / "r.yaml").write_text(recipe, encoding="utf-8")
    bare = {"LC_ALL": "C", "LANG": "tr_TR", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "condistill.cli", "validate", "r.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, env=os.environ | bare)
    assert done.returncode == 2 and done.stderr.startswith(b"condistill: error: ") and done.stderr.isascii()
    (tmp_path / "r.yaml").write_text(recipe.replace("0,5", "0.5").replace("\u0131\u015f", "is"), encoding="utf-8")
    done = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, env=os.environ | bare)
    assert done.returncode == 0 and done.stdout.isascii(), done.stderr
