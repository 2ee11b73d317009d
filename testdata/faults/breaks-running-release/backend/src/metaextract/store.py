"""Extractions in PostgreSQL. Every column is named: the next release may add one."""

from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool
from pydantic import BaseModel, ValidationInfo, field_validator

from metaextract.extract import Result
from metaextract.kind import Kind, kind_of

SCHEMA = "0001_kind"
"""The newest migration this release needs."""

SUMMARY = "id, file_name, sha256, size_bytes, mime_type, kind, uploaded_at AS created_at"
FULL = f"{SUMMARY}, metadata"


class Summary(BaseModel):
    id: int
    file_name: str
    sha256: str
    size_bytes: int
    mime_type: str
    kind: Kind
    created_at: datetime

    @field_validator("kind", mode="before")
    @classmethod
    def _written_by_the_old_release(cls, kind: str | None, row: ValidationInfo) -> str:
        # While both releases run, the old one adds rows without a kind.
        return kind or kind_of(row.data["mime_type"])


class Extraction(Summary):
    metadata: dict[str, Any]


class Store:
    def __init__(self, database_url: str) -> None:
        self._pool = ConnectionPool(
            database_url,
            min_size=1,
            max_size=8,
            timeout=5,
            open=False,
            # A connection that died while it was idle (a restart, a failover) is replaced unseen.
            check=ConnectionPool.check_connection,
        )

    def open(self) -> None:
        """Begins to connect and does not wait: /readyz says when the database is there."""
        self._pool.open(wait=False)

    def close(self) -> None:
        self._pool.close()

    def check(self) -> None:
        """Raises psycopg.Error unless the database answers and has the columns used here."""
        with self._pool.connection(timeout=2) as connection:
            connection.execute(f"SELECT {FULL} FROM extractions LIMIT 0")

    def add(self, file_name: str, sha256: str, size_bytes: int, result: Result) -> Extraction:
        with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=class_row(Extraction))
            cursor.execute(
                "INSERT INTO extractions (file_name, sha256, size_bytes, mime_type, kind, metadata)"
                f" VALUES (%s, %s, %s, %s, %s, %s) RETURNING {FULL}",
                (
                    file_name,
                    sha256,
                    size_bytes,
                    result.mime_type,
                    kind_of(result.mime_type),
                    Jsonb(result.metadata),
                ),
            )
            return cursor.fetchall()[0]

    def recent(self, limit: int) -> list[Summary]:
        with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=class_row(Summary))
            cursor.execute(
                f"SELECT {SUMMARY} FROM extractions ORDER BY uploaded_at DESC LIMIT %s",
                (limit,),
            )
            return cursor.fetchall()

    def get(self, id: int) -> Extraction | None:
        with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=class_row(Extraction))
            cursor.execute(f"SELECT {FULL} FROM extractions WHERE id = %s", (id,))
            return cursor.fetchone()
