"""An upload on its way in: held to the size limit, hashed, put where the tools can read it."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

FILE_NAME_LIMIT = 255


class BodyLimit:
    """Middleware: answers 413 as soon as a body is too long, before it fills the disk."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise HTTPException(413, f"The file is larger than {self._limit} bytes.")
            return message

        await self._app(scope, limited if scope["type"] == "http" else receive, send)


@dataclass(frozen=True)
class Upload:
    path: Path
    sha256: str
    size_bytes: int


@contextmanager
def on_disk(source: BinaryIO) -> Iterator[Upload]:
    """A copy with a name of our own: what the sender calls a file never reaches a command line."""
    with tempfile.NamedTemporaryFile(prefix="metaextract-") as copy:
        shutil.copyfileobj(source, copy)
        copy.seek(0)
        digest = hashlib.file_digest(copy, "sha256")
        yield Upload(Path(copy.name), digest.hexdigest(), copy.tell())


def display_name(sent: str | None) -> str:
    """A name fit to store and show: the last part of the path, printable, of bounded length."""
    last = (sent or "").rpartition("/")[2]
    printable = "".join(character for character in last if character.isprintable())
    return printable.strip()[:FILE_NAME_LIMIT] or "unnamed"
