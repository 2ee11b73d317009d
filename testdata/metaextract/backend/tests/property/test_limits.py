from hypothesis import given
from hypothesis import strategies as st

from metaextract.memory import WINDOW_SECONDS, window_of
from metaextract.upload import FILE_NAME_LIMIT, display_name

moments = st.floats(min_value=0, max_value=4e9)


@given(moments)
def test_waiting_as_long_as_told_reaches_the_next_window(now: float) -> None:
    window, wait = window_of(now)
    assert 1 <= wait <= WINDOW_SECONDS
    assert window_of(now + wait)[0] == window + 1


@given(moments, moments)
def test_windows_follow_time(a: float, b: float) -> None:
    assert window_of(min(a, b))[0] <= window_of(max(a, b))[0]


@given(st.text())
def test_a_display_name_can_be_stored_and_shown(sent: str) -> None:
    name = display_name(sent)
    assert 1 <= len(name) <= FILE_NAME_LIMIT
    assert name.isprintable()
    assert "/" not in name
    assert display_name(name) == name
