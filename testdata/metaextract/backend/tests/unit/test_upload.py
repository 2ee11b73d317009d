import io

import pytest

from metaextract.upload import display_name, on_disk


def test_the_copy_is_whole_hashed_and_gone_afterwards() -> None:
    with on_disk(io.BytesIO(b"hello")) as upload:
        assert upload.path.read_bytes() == b"hello"
        assert upload.size_bytes == 5
        assert upload.sha256.startswith("2cf24dba")
    assert not upload.path.exists()


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\photo.jpg", "photo.jpg"),
        ("a\x00b\n.txt", "ab.txt"),
        ("", "unnamed"),
        (None, "unnamed"),
    ],
)
def test_display_name(sent: str | None, shown: str) -> None:
    assert display_name(sent) == shown
