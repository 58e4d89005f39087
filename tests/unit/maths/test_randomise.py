"""Random conditioning on keys: limits and order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from condistill.maths.randomise import randomise

ROWS = st.lists(st.tuples(st.text(max_size=5), st.booleans(), st.text(max_size=5), st.booleans()), max_size=20)


@given(ROWS)
def test_each_key_is_its_own_swapped_or_null(rows: list[tuple[str, bool, str, bool]]) -> None:
    keys, swap, others, drop = ([row[k] for row in rows] for k in range(4))
    found = randomise(keys, swap=swap, others=others, drop=drop, null="NULL")  # type: ignore[arg-type]
    for k, (key, s, other, d) in enumerate(rows):
        assert found.keys[k] == ("NULL" if d else other if s else key)
    assert found.swapped.tolist() == swap and found.dropped.tolist() == drop


def test_keys_that_are_mappings_are_swapped_whole() -> None:
    a, b = {"prompt": "x", "negative_prompt": "y"}, {"prompt": "z", "negative_prompt": "w"}
    found = randomise([a], swap=[True], others=[b], drop=[False], null="")
    assert found.keys[0] is b
