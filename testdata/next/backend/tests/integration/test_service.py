from pathlib import Path

import psycopg
import pytest
from fastapi.testclient import TestClient
from redis import Redis

from metaextract.api import create_app
from metaextract.memory import PREFIX
from metaextract.settings import Settings

FIXTURES = Path(__file__).parents[1] / "fixtures"


def upload(client: TestClient, name: str) -> dict[str, object]:
    with (FIXTURES / name).open("rb") as file:
        response = client.post("/api/extractions", files={"file": (name, file)})
    assert response.status_code == 201, response.text
    body: dict[str, object] = response.json()
    return body


@pytest.mark.parametrize(
    ("name", "mime_type", "kind", "group", "found"),
    [
        ("photo.jpg", "image/jpeg", "image", "EXIF", {"Make": "Acme", "FNumber": 2.8}),
        ("note.pdf", "application/pdf", "document", "PDF", {"Title": "Tide table"}),
        ("tone.wav", "audio/x-wav", "audio", "Stream 0", {"codec_name": "pcm_s16le"}),
        ("clip.mp4", "video/mp4", "video", "Stream 0", {"codec_name": "mpeg4", "width": 64}),
    ],
)
def test_a_file_is_read_stored_and_listed(
    client: TestClient,
    name: str,
    mime_type: str,
    kind: str,
    group: str,
    found: dict[str, object],
) -> None:
    created = upload(client, name)

    assert created["mime_type"] == mime_type
    assert created["kind"] == kind
    assert created["size_bytes"] == (FIXTURES / name).stat().st_size
    metadata = created["metadata"]
    assert isinstance(metadata, dict)
    assert metadata[group].items() >= found.items()
    assert client.get(f"/api/extractions/{created['id']}").json() == created
    assert client.get("/api/extractions?limit=1").json()[0]["id"] == created["id"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ((FIXTURES / "broken.mp4").read_bytes(), "damaged or incomplete"),
        (bytes(range(256)) * 4, "ExifTool cannot read this file"),
        (b"", "empty"),
    ],
    ids=["a truncated video", "bytes without meaning", "nothing"],
)
def test_an_unreadable_file_is_refused(client: TestClient, content: bytes, reason: str) -> None:
    response = client.post("/api/extractions", files={"file": ("x.mp4", content)})
    assert response.status_code == 422
    assert reason in response.json()["detail"]


def test_a_result_is_cached_by_content(client: TestClient, redis: Redis) -> None:
    first = upload(client, "photo.jpg")
    key = f"{PREFIX}:result:{first['sha256']}"
    assert 0 < redis.ttl(key) <= 24 * 3600
    second = upload(client, "photo.jpg")
    assert second["id"] != first["id"]
    assert second["metadata"] == first["metadata"]


def test_uploads_of_one_client_are_limited(settings: Settings) -> None:
    app = create_app(settings)
    with TestClient(app, client=("192.0.2.1", 1)) as busy, TestClient(app) as other:
        statuses = [
            busy.post("/api/extractions", files={"file": ("x", b"")}).status_code
            for _ in range(2 * settings.rate_limit_per_minute + 1)
        ]
        # A minute may end among them, and a new window begin; two cannot.
        assert 429 in statuses
        assert other.post("/api/extractions", files={"file": ("x", b"")}).status_code == 422


def test_ready_with_everything_there(client: TestClient) -> None:
    assert client.get("/readyz").json() == {"ready": True, "reasons": []}


def test_not_ready_before_the_schema_is_there(settings: Settings, empty_database_url: str) -> None:
    bare = Settings(empty_database_url, settings.redis_url)
    with TestClient(create_app(bare)) as client:
        response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["reasons"] == ['database: relation "extractions" does not exist']


def test_a_column_of_a_later_release_does_no_harm(client: TestClient, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE extractions ADD COLUMN IF NOT EXISTS later text")
    created = upload(client, "note.pdf")
    assert client.get(f"/api/extractions/{created['id']}").json() == created
    assert "later" not in created


def test_uploads_go_on_without_redis(settings: Settings) -> None:
    alone = Settings(settings.database_url, "redis://127.0.0.1:1/0")
    with TestClient(create_app(alone)) as client:
        upload(client, "photo.jpg")
        assert client.get("/readyz").status_code == 503
