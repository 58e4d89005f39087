"""Every pipeline of the catalogue goes the whole way, or is refused in words that say why."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import diffusers
import pytest
import torch

from condistill.errors import UserError
from tests.contract import battery, page
from tests.contract.expected import NOT_CUT, NOT_LOADED, REFUSED, WITHOUT
from tests.tiny.case import Case
from tests.tiny.catalogue import catalogue

CASES = catalogue()
WHOLE = [name for name in CASES if name not in REFUSED]


@pytest.fixture(scope="session")
def other_process() -> Iterator[battery.OtherProcess]:
    found = battery.OtherProcess()
    yield found
    found.close()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors on two threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", WHOLE)
def test_pipeline_goes_the_whole_way(name: str, tmp_path: Path, other_process: battery.OtherProcess) -> None:
    case = CASES[name]
    teacher = battery.recorded(case)
    battery.check_batch_equals_singles(teacher, case)
    battery.check_swap(teacher, case)
    battery.check_noise_path(teacher)
    cache = battery.made_cache(teacher, case, tmp_path / "cache")
    # what cannot be cut is at least trained anew at its own size
    student = teacher.student("depth=1.0", init="random", seed=1) if name in NOT_CUT else teacher.student(case.student)
    sizes = [sum(p.numel() for p in one.network.parameters()) for one in (teacher, student)]
    assert sizes[1] < sizes[0] or name in NOT_CUT, f"{case.student} cuts nothing"
    folder = battery.check_distillation(teacher, student, case, cache, tmp_path / "run")
    assert NOT_LOADED.get(name, "sampled") in other_process.sample(folder, battery.plain_arguments(case, teacher))
    written = page.PAGE.read_text(encoding="utf-8").splitlines()
    assert page.line(case, teacher) in written, "docs/teachers.md is old: python -m tests.contract.page"


@pytest.mark.parametrize("name", NOT_CUT)
def test_cut_that_its_pipeline_cannot_feed_is_refused(name: str) -> None:
    case: Case = CASES[name]
    with pytest.raises(UserError, match=NOT_CUT[name]):
        battery.recorded(case).student(case.student)


@pytest.mark.parametrize("name", REFUSED)
def test_pipeline_that_is_no_teacher_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=REFUSED[name]):
        battery.recorded(CASES[name])


def test_page_names_every_case_and_no_other() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    named = {row.split(" | ")[0].removeprefix("| ") for row in text.splitlines() if row.startswith("| ")} - {
        "case",
        "pipeline",
    }
    assert named == {*CASES, *WITHOUT}


def test_every_pipeline_of_diffusers_has_a_case_or_a_reason() -> None:
    rows = [row.split(" | ") for row in page.PAGE.read_text(encoding="utf-8").splitlines() if row.startswith("| ")]
    known = {row[1].partition(" ")[0] for row in rows if len(row) > 2} | set(WITHOUT)
    known |= {type(CASES[name].build()).__name__ for name in REFUSED}
    others = ("Modular", "Auto", "Output", "Blocks", "Config")
    exported = {name for name in dir(diffusers) if "Pipeline" in name and not any(part in name for part in others)}
    missing = {name for name in exported - known if name.removesuffix("Pipeline") not in known}
    assert missing <= {"DiffusionPipeline"}, f"neither a case nor a reason: {sorted(missing)}"
