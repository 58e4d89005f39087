"""A choice of swaps in a run: it goes on exactly, is in the log, and does not change without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from condistill import Cache, Teacher, UserError
from tests.unit.train.conftest import trained


@pytest.mark.parametrize("swap", ["gap", "similarity"])
def test_a_choice_of_swaps_goes_on_exactly(
    swap: str, exact_teacher: Teacher, exact_cache: Cache, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"swap": swap, "p_random": 1.0, "micro_batch": 8}
    whole = trained(exact_teacher, exact_cache, tmp_path / "whole", steps=30, **options)
    trained(exact_teacher, exact_cache, tmp_path / "parts", steps=13, **options)
    parts = trained(exact_teacher, exact_cache, tmp_path / "parts", steps=30, **options)
    plain = trained(exact_teacher, exact_cache, tmp_path / "plain", steps=30, p_random=1.0, micro_batch=8)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, parts.network.state_dict()[name]), name
        assert not torch.equal(value, plain.network.state_dict()[name]), name
    first = json.loads((tmp_path / "whole" / "log.jsonl").read_text().splitlines()[0])
    assert first["swap"]["by"] == swap
    with pytest.raises(UserError, match=r"swap\.by"):
        trained(exact_teacher, exact_cache, tmp_path / "parts", steps=31, p_random=1.0)
