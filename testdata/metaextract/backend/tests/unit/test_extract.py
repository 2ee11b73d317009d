"""What is made of the tools' answers. The tools themselves run in tests/integration."""

import json
from pathlib import Path

import pytest

from metaextract.extract import UnreadableFileError, extract, parse_exiftool, parse_ffprobe


def test_exiftool_groups_are_kept_and_its_remarks_are_not() -> None:
    answer = {
        "SourceFile": "/tmp/x",
        "ExifTool": {"ExifToolVersion": 12.57, "Warning": "odd"},
        "EXIF": {"Make": "Acme"},
    }
    assert parse_exiftool(json.dumps([answer])) == {"EXIF": {"Make": "Acme"}}


def test_the_reason_of_exiftool_is_passed_on() -> None:
    answer = json.dumps([{"ExifTool": {"Error": "File format error"}}])
    with pytest.raises(UnreadableFileError, match="ExifTool cannot read this file: File format"):
        parse_exiftool(answer)


def test_streams_are_groups_of_their_own() -> None:
    answer = {
        "format": {"filename": "file:/x", "duration": "0.5", "tags": {"title": "Tuning fork"}},
        "streams": [{"index": 0, "codec_name": "pcm_s16le", "disposition": {"default": 0}}],
    }
    assert parse_ffprobe(json.dumps(answer)) == {
        "Format": {"duration": "0.5", "title": "Tuning fork"},
        "Stream 0": {"index": 0, "codec_name": "pcm_s16le"},
    }


@pytest.mark.parametrize("answer", ["", "{}", '{"format": {}, "streams": []}'])
def test_media_without_streams_is_unreadable(answer: str) -> None:
    with pytest.raises(UnreadableFileError, match="ffprobe"):
        parse_ffprobe(answer)


@pytest.mark.parametrize("answer", ["", "[]", "not json"])
def test_no_answer_of_exiftool_is_unreadable(answer: str) -> None:
    with pytest.raises(UnreadableFileError, match="ExifTool gave no answer"):
        parse_exiftool(answer)


def test_an_empty_file_is_refused_before_any_tool_runs(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(UnreadableFileError, match="empty"):
        extract(empty)
