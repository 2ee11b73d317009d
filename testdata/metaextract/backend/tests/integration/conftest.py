"""Real PostgreSQL, real Redis, real tools. Nothing is skipped: what is missing fails by name."""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import psycopg
import pytest
from fastapi.testclient import TestClient
from psycopg import sql
from psycopg.conninfo import make_conninfo
from redis import Redis

from metaextract.api import create_app
from metaextract.memory import PREFIX
from metaextract.settings import Settings

BACKEND = Path(__file__).parents[2]
BREAKPOINT = "--> statement-breakpoint"


def needed(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        pytest.fail(f"{name} is not set: the integration tests need a real server", pytrace=False)
    return value


@pytest.fixture(scope="session")
def migrations() -> dict[str, list[str]]:
    """The statements of each migration, by its tag, in the order of the journal."""
    folder = Path(os.environ.get("MIGRATIONS_DIR") or BACKEND.parent / "migrations")
    journal = json.loads((folder / "meta" / "_journal.json").read_text())
    tags = [entry["tag"] for entry in journal["entries"]]
    return {tag: (folder / f"{tag}.sql").read_text().split(BREAKPOINT) for tag in tags}


@contextmanager
def fresh_schema() -> Iterator[str]:
    """A connection string whose tables are in a schema of its own, which is dropped afterwards."""
    url = needed("DATABASE_URL")
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
        try:
            yield make_conninfo(url, options=f"-csearch_path={name}")
        finally:
            admin.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))


@pytest.fixture
def empty_database_url() -> Iterator[str]:
    with fresh_schema() as url:
        yield url


@pytest.fixture(scope="session")
def database_url(migrations: dict[str, list[str]]) -> Iterator[str]:
    """A database with every migration applied."""
    with fresh_schema() as url:
        with psycopg.connect(url) as connection:
            for statement in chain.from_iterable(migrations.values()):
                connection.execute(statement.encode())
        yield url


@pytest.fixture
def redis() -> Iterator[Redis]:
    with Redis.from_url(needed("REDIS_URL"), decode_responses=True) as redis:
        for key in redis.scan_iter(f"{PREFIX}:*"):
            redis.delete(key)
        yield redis


@pytest.fixture
def settings(database_url: str, redis: Redis) -> Settings:
    return Settings(database_url, needed("REDIS_URL"), rate_limit_per_minute=10)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings)) as client:
        yield client
