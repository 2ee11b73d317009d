"""The HTTP interface with everything behind it replaced: no tool, database or Redis is used."""

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from fastapi.testclient import TestClient
from redis import ConnectionError as RedisConnectionError

from metaextract import api
from metaextract.extract import Result, UnreadableFileError
from metaextract.memory import Memory
from metaextract.settings import Settings
from metaextract.store import Extraction, Store, Summary

SETTINGS = Settings("postgres://unused", "redis://unused", release="1.2.3", max_upload_bytes=2000)


class FakeStore(Store):
    def __init__(self) -> None:
        self.rows: list[Extraction] = []
        self.failure: psycopg.Error | None = None

    def open(self) -> None: ...

    def close(self) -> None: ...

    def check(self) -> None:
        if self.failure:
            raise self.failure

    def add(self, file_name: str, sha256: str, size_bytes: int, result: Result) -> Extraction:
        self.check()
        row = Extraction(
            id=len(self.rows) + 1,
            file_name=file_name,
            sha256=sha256,
            size_bytes=size_bytes,
            mime_type=result.mime_type,
            created_at=datetime(2026, 11, 16, tzinfo=UTC),
            metadata=result.metadata,
        )
        self.rows.append(row)
        return row

    def recent(self, limit: int) -> list[Summary]:
        newest_first: list[Summary] = [*reversed(self.rows)]
        return newest_first[:limit]

    def get(self, id: int) -> Extraction | None:
        return next((row for row in self.rows if row.id == id), None)


class FakeMemory(Memory):
    def __init__(self) -> None:
        self.results: dict[str, Result] = {}
        self.wait = 0
        self.away = False

    def close(self) -> None: ...

    def check(self) -> None:
        if self.away:
            raise RedisConnectionError("Connection refused")

    def recall(self, sha256: str) -> Result | None:
        return self.results.get(sha256)

    def remember(self, sha256: str, result: Result) -> None:
        self.results[sha256] = result

    def seconds_to_wait(self, client: str, per_minute: int) -> int:
        return self.wait


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def memory() -> FakeMemory:
    return FakeMemory()


@pytest.fixture
def client(
    store: FakeStore, memory: FakeMemory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    monkeypatch.setattr(api, "missing_tools", list)
    monkeypatch.setattr(
        api, "extract", lambda path: Result("text/plain", {"File": {"Words": path.read_text()}})
    )
    with TestClient(api.create_app(SETTINGS, store, memory)) as client:
        yield client


def test_alive_without_anything_else(client: TestClient, store: FakeStore) -> None:
    store.failure = psycopg.OperationalError("gone")
    assert client.get("/healthz").json() == {"alive": True}


def test_version_names_the_release_and_the_schema_it_needs(client: TestClient) -> None:
    assert client.get("/version").json() == {"release": "1.2.3", "schema": "0000_extractions"}


def test_ready(client: TestClient) -> None:
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.json() == {"ready": True, "reasons": []}


def test_not_ready_names_everything_that_is_missing(
    client: TestClient, store: FakeStore, memory: FakeMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.failure = psycopg.errors.UndefinedTable('relation "extractions" does not exist\nLINE 1')
    memory.away = True
    monkeypatch.setattr(api, "missing_tools", lambda: ["ffprobe"])

    response = client.get("/readyz")

    assert response.status_code == 503
    assert response.json()["reasons"] == [
        "ffprobe is not on PATH",
        'database: relation "extractions" does not exist',
        "redis: Connection refused",
    ]


def test_an_upload_is_extracted_stored_and_listed(client: TestClient) -> None:
    created = client.post("/api/extractions", files={"file": ("dir/a.txt", b"hello")})

    assert created.status_code == 201
    assert created.json() == {
        "id": 1,
        "file_name": "a.txt",
        "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        "size_bytes": 5,
        "mime_type": "text/plain",
        "created_at": "2026-11-16T00:00:00Z",
        "metadata": {"File": {"Words": "hello"}},
    }
    assert client.get("/api/extractions/1").json() == created.json()
    (listed,) = client.get("/api/extractions").json()
    assert listed == {k: v for k, v in created.json().items() if k != "metadata"}


def test_the_same_content_is_extracted_once(
    client: TestClient, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.post("/api/extractions", files={"file": ("a.txt", b"hello")})
    monkeypatch.setattr(api, "extract", lambda path: pytest.fail("extracted again"))

    response = client.post("/api/extractions", files={"file": ("b.txt", b"hello")})

    assert response.status_code == 201
    assert [row.file_name for row in store.rows] == ["a.txt", "b.txt"]


def test_an_unreadable_file_is_refused_with_the_reason(
    client: TestClient, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: object) -> Result:
        raise UnreadableFileError("The file is empty.")

    monkeypatch.setattr(api, "extract", refuse)
    response = client.post("/api/extractions", files={"file": ("a.txt", b"")})

    assert (response.status_code, response.json()["detail"]) == (422, "The file is empty.")
    assert store.rows == []


def test_a_large_upload_is_refused(client: TestClient, store: FakeStore) -> None:
    response = client.post("/api/extractions", files={"file": ("a.bin", b"x" * 2000)})
    assert response.status_code == 413
    assert store.rows == []


def test_too_many_uploads_are_told_when_to_come_back(
    client: TestClient, memory: FakeMemory
) -> None:
    memory.wait = 17
    response = client.post("/api/extractions", files={"file": ("a.txt", b"hello")})
    assert response.status_code == 429
    assert response.headers["Retry-After"] == "17"
    assert client.get("/api/extractions").status_code == 200


def test_a_database_that_is_away_is_said_to_be_away(client: TestClient, store: FakeStore) -> None:
    store.failure = psycopg.OperationalError("password of the connection string")
    response = client.post("/api/extractions", files={"file": ("a.txt", b"hello")})
    assert response.status_code == 503
    assert "password" not in response.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/extractions/1", 404),
        ("/api/extractions/0", 422),
        (f"/api/extractions/{2**63}", 422),
        ("/api/extractions?limit=0", 422),
        ("/api/extractions?limit=101", 422),
    ],
)
def test_what_is_not_there(client: TestClient, path: str, status: int) -> None:
    assert client.get(path).status_code == status
