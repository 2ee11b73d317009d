from hypothesis import given
from hypothesis import strategies as st

from metaextract.kind import kind_of

words = st.from_regex(r"[a-z0-9.+-]{1,20}", fullmatch=True)


@given(st.sampled_from(["image", "audio", "video"]), words)
def test_media_have_the_kind_of_their_type(top: str, sub: str) -> None:
    assert kind_of(f"{top}/{sub}") == top


@given(st.text())
def test_everything_has_a_kind(mime_type: str) -> None:
    assert kind_of(mime_type) in {"image", "audio", "video", "document", "other"}
