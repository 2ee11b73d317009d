import pytest
from describe import describe


def test_a_text_is_counted() -> None:
    facts = describe("The sea, the sky.\nThe shore.")
    assert (facts["characters"], facts["words"], facts["lines"]) == (28, 6, 2)
    assert facts["most_common"][0] == ("the", 3)


def test_nothing_has_nothing_in_it() -> None:
    facts = describe("")
    assert (facts["bytes"], facts["words"], facts["lines"]) == (0, 0, 0)


def test_bytes_are_decoded_before_they_are_counted() -> None:
    facts = describe("Ein Gruß aus den Bergen, und schöne Tage dort.".encode("utf-16"))
    assert facts["encoding"] == "utf_16"
    assert facts["words"] == 9


def test_bytes_that_are_no_text_are_only_hashed() -> None:
    facts = describe(bytes(range(256)) * 4)
    assert facts["encoding"] is None
    assert facts["bytes"] == 1024
    assert "words" not in facts


@pytest.mark.parametrize("data", ["hello", b"hello"])
def test_the_hash_is_of_the_content(data: str | bytes) -> None:
    assert describe(data)["sha256"].startswith("2cf24dba5fb0a30e")


def test_half_a_surrogate_pair_does_no_harm() -> None:
    assert describe("\ud83c")["bytes"] == 1
