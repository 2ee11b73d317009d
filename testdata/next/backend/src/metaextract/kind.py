"""What sort of thing a file is. Migration 0001_kind says the same in SQL, for older rows."""

from typing import Literal

Kind = Literal["image", "audio", "video", "document", "other"]

DOCUMENT_TYPES = frozenset({"application/msword", "application/pdf", "application/rtf"})
DOCUMENT_PREFIXES = (
    "text/",
    "application/vnd.openxmlformats-officedocument.",
    "application/vnd.oasis.opendocument.",
)


def kind_of(mime_type: str) -> Kind:
    if mime_type.startswith("image/"):
        return "image"
    if mime_type.startswith("audio/"):
        return "audio"
    if mime_type.startswith("video/"):
        return "video"
    if mime_type in DOCUMENT_TYPES or mime_type.startswith(DOCUMENT_PREFIXES):
        return "document"
    return "other"
