import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from metaextract.extract import clean

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_values)
def test_no_nul_is_left_anywhere(value: Any) -> None:
    assert "\\u0000" not in json.dumps(clean(value)).replace("\\\\", "")


@given(json_values)
def test_cleaning_twice_changes_nothing_more(value: Any) -> None:
    assert clean(clean(value)) == clean(value)


@given(st.dictionaries(st.text(st.characters(exclude_characters="\x00")), st.integers()))
def test_what_is_clean_stays_as_it_is(value: dict[str, int]) -> None:
    assert clean(value) == value
