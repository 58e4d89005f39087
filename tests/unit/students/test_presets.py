"""How a spec is read."""

from __future__ import annotations

import subprocess
import sys

import pytest

from condistill.errors import UserError
from condistill.students import PRESETS, check_spec, spec_text


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_spec_that_cuts(name: str) -> None:
    assert check_spec(name) == PRESETS[name].cut
    assert not check_spec(name).is_identity
    assert PRESETS[name].name == name and PRESETS[name].summary


def test_rules_combine() -> None:
    cut = check_spec({"preset": "b-small", "mid": True, "width": 0.5})
    assert (cut.fewer_layers, cut.mid, cut.width) == (True, "keep", 0.5)
    assert cut == check_spec("b-small+mid+width=0.5")
    assert dict(check_spec({"keep": {"blocks": [0, 3]}}).keep) == {"blocks": (0, 3)}


def test_identity_is_said_in_so_many_words() -> None:
    assert check_spec("depth=1.0").is_identity and check_spec("width=1").is_identity


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("b-bse", "unknown student 'b-bse'; did you mean 'b-base'?"),
        ("dpth=0.5", "unknown student rule 'dpth'; did you mean 'depth'?"),
        ({"widht": 0.5}, "unknown student rule 'widht'; did you mean 'width'?"),
        ("depth=0", "got depth=0; a share in (0, 1] is wanted"),
        ("width=wide", "got width=wide; a share in (0, 1] is wanted"),
        ("width=1.5", "a share in (0, 1] is wanted"),
        ("depth=0.5,width=0.5", "rules are joined by +, e.g. depth=0.5+width=0.5"),
        ("", "got an empty student spec"),
        ("keep=blocks", "a stack and its blocks are wanted"),
        ("keep=blocks:2,1", "each block once and in the teacher's order"),
        ("b-base+mid", "keeps its mid block"),
        ("b-base+c-base", "name one preset"),
        (3, "got a student spec of type int"),
    ],
)
def test_a_spec_nobody_understands_is_named(spec: object, message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_spec(spec)  # type: ignore[arg-type]
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_spec_text_is_the_string_form() -> None:
    assert spec_text({"preset": "b-small", "mid": True}) == "b-small+mid"
    assert spec_text({"keep": {"blocks": [0, 3]}}) == "keep=blocks:0,3"


def test_reading_a_spec_needs_no_torch() -> None:
    code = (
        "import sys; from condistill.students import check_spec; check_spec('b-base'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
