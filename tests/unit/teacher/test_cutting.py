"""Prompts that a tokenizer cuts are counted and told, whatever the pipeline puts around them."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from condistill import Teacher, corpus
from condistill.cli import main
from condistill.errors import Remark
from condistill.teacher.cutting import limits, report_cut
from tests import tiny


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return Teacher.from_pipeline(tiny.sd())


def test_the_limit_is_that_of_the_pipelines_own_call(teacher: Teacher) -> None:
    before = type(teacher.pipeline.tokenizer)
    (limit,) = limits(teacher)
    # 24 places, of which a beginning and an end; the tokenizer spells in letters
    assert (limit.component, limit.tokens) == ("tokenizer", 22) and type(teacher.pipeline.tokenizer) is before


def test_what_is_cut_is_counted_and_nothing_else(teacher: Teacher) -> None:
    keys = ["a" * 22, "a" * 23, "a fox", "a" * 60, 3, {"prompt": "a" * 99}]
    with pytest.warns(
        Remark, match=r"2 of 6 prompts are longer than the 22 tokens that .* reads \(the longest has 60\)"
    ):
        assert report_cut(teacher, keys, "prompts") == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error", Remark)
        assert report_cut(teacher, keys[:1], "prompts") == 0 and report_cut(teacher, [3, 4], "labels") == 0


def test_of_a_large_corpus_some_rows_are_looked_at(
    teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONDISTILL_CACHE", str(tmp_path))
    monkeypatch.setattr("condistill.teacher.cutting.LOOKED_AT", 4)
    (tmp_path / "p.txt").write_text("\n".join(["b" * 30] * 9))
    with pytest.warns(Remark, match="4 of 4 conditions looked at, out of 9, are longer"):
        report_cut(teacher, corpus(tmp_path / "p.txt"), "conditions")


def test_the_command_line_says_it_in_one_line(
    teacher: Teacher, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # put back afterwards
    teacher.save(tmp_path / "sd")
    (tmp_path / "p.txt").write_text("a cat\n" + "a long cat " * 9)
    words = ["sample", str(tmp_path / "sd"), "--prompts", str(tmp_path / "p.txt"), "--out", str(tmp_path / "o")]
    with warnings.catch_warnings():
        # pytest keeps warnings to itself; a command line shows them
        monkeypatch.setattr(warnings, "showwarning", lambda m, c, f, n, *_: print(warnings.formatwarning(m, c, f, n)))
        assert main([*words, "--steps", "1"]) == 0
    told = next(one for one in "".join(capfd.readouterr()).splitlines() if one.startswith("condistill: 1"))
    assert told.startswith(
        "condistill: 1 of 2 prompts are longer than the 22 tokens that the teacher's tokenizer reads"
    )
