import psycopg

from metaextract.kind import kind_of

TYPES = [
    "image/png",
    "audio/mpeg",
    "video/webm",
    "text/csv",
    "application/pdf",
    "application/msword",
    "application/rtf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.oasis.opendocument.text",
    "application/zip",
    "font/woff2",
]
ADD_ROW = (
    "INSERT INTO extractions (file_name, sha256, size_bytes, mime_type, metadata)"
    " VALUES ('a', '', 1, %s, '{}')"
)


def test_rows_of_the_old_release_get_the_kind_that_the_code_gives(
    empty_database_url: str, migrations: dict[str, list[str]]
) -> None:
    with psycopg.connect(empty_database_url) as connection:
        for statement in migrations["0000_extractions"]:
            connection.execute(statement.encode())
        for mime_type in TYPES:
            connection.execute(ADD_ROW, (mime_type,))
        for statement in migrations["0001_kind"]:
            connection.execute(statement.encode())
        kinds = connection.execute("SELECT mime_type, kind FROM extractions").fetchall()
    assert dict(kinds) == {mime_type: kind_of(mime_type) for mime_type in TYPES}


def test_the_old_release_can_still_add_rows(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(ADD_ROW, ("image/png",))
