from datetime import UTC, datetime

import pytest

from metaextract.kind import kind_of
from metaextract.store import Summary


@pytest.mark.parametrize(
    ("mime_type", "kind"),
    [
        ("image/jpeg", "image"),
        ("audio/x-wav", "audio"),
        ("video/mp4", "video"),
        ("application/pdf", "document"),
        ("text/plain", "document"),
        ("application/vnd.oasis.opendocument.text", "document"),
        ("application/zip", "other"),
        ("", "other"),
    ],
)
def test_kind_of(mime_type: str, kind: str) -> None:
    assert kind_of(mime_type) == kind


def test_a_row_of_the_old_release_has_a_kind_too() -> None:
    row = {
        "id": 1,
        "file_name": "photo.jpg",
        "sha256": "",
        "size_bytes": 1,
        "mime_type": "image/jpeg",
        "kind": None,
        "created_at": datetime(2026, 11, 16, tzinfo=UTC),
    }
    assert Summary.model_validate(row).kind == "image"
