"""Runs ExifTool, ffprobe and libmagic on one file. Knows nothing of HTTP or the database."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOOLS = ("exiftool", "ffprobe")
TIMEOUT_SECONDS = 20.0

Metadata = dict[str, dict[str, Any]]


class UnreadableFileError(Exception):
    """The file cannot be read. The message says why and is meant for the person who sent it."""


@dataclass(frozen=True)
class Result:
    mime_type: str
    metadata: Metadata


def missing_tools() -> list[str]:
    return [tool for tool in TOOLS if shutil.which(tool) is None]


def extract(path: Path) -> Result:
    """Everything the tools say about the file, in groups. Raises UnreadableFileError."""
    if path.stat().st_size == 0:
        raise UnreadableFileError("The file is empty.")
    mime_type = detect_type(path)
    metadata = read_exiftool(path)
    if mime_type.startswith(("audio/", "video/")):
        metadata |= read_ffprobe(path)
    return Result(mime_type, clean(metadata))


def detect_type(path: Path) -> str:
    import magic  # Loads libmagic, which only an upload needs.

    return magic.from_file(str(path), mime=True)


def read_exiftool(path: Path) -> Metadata:
    # The System group is about our temporary copy: its name, permissions and dates.
    stdout = _run(["exiftool", "-json", "-g", "--System:all", str(path)])
    return parse_exiftool(stdout)


def parse_exiftool(stdout: str) -> Metadata:
    try:
        (document,) = json.loads(stdout)
    except ValueError as error:
        raise UnreadableFileError("ExifTool gave no answer for this file.") from error
    about_run = document.pop("ExifTool", {})
    if reason := about_run.get("Error"):
        raise UnreadableFileError(f"ExifTool cannot read this file: {reason}")
    return {name: tags for name, tags in document.items() if isinstance(tags, dict)}


def read_ffprobe(path: Path) -> Metadata:
    # Only this file: a playlist in disguise must not make ffprobe open anything else.
    command = ["ffprobe", "-v", "error", "-protocol_whitelist", "file", "-print_format", "json"]
    return parse_ffprobe(_run([*command, "-show_format", "-show_streams", f"file:{path}"]))


def parse_ffprobe(stdout: str) -> Metadata:
    try:
        document = json.loads(stdout)
    except ValueError as error:
        raise UnreadableFileError("ffprobe gave no answer for this file.") from error
    streams = document.get("streams")
    if not streams:
        raise UnreadableFileError("ffprobe cannot read this file: it is damaged or incomplete.")
    groups = {"Format": document["format"]}
    groups |= {f"Stream {stream['index']}": stream for stream in streams}
    return {name: _flatten(group) for name, group in groups.items()}


def _flatten(group: Mapping[str, Any]) -> dict[str, Any]:
    tags = {key: value for key, value in group.items() if key not in ("filename", "disposition")}
    return {**tags.pop("tags", {}), **tags}


def clean(value: Any) -> Any:
    """The same value without NUL characters, which a PostgreSQL jsonb cannot hold."""
    match value:
        case str():
            return value.replace("\x00", "")
        case list():
            return [clean(item) for item in value]
        case dict():
            return {clean(key): clean(item) for key, item in value.items()}
        case _:
            return value


def _run(command: list[str]) -> str:
    tool = command[0]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnreadableFileError(f"{tool} took longer than {error.timeout:.0f} s.") from error
    # A tool that fails still says why in its JSON, or prints none: both are handled by the reader.
    return done.stdout.decode("utf-8", errors="replace")
