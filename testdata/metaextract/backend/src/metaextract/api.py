"""The HTTP interface. It decides nothing about files: extract, store and memory do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import psycopg
from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request, UploadFile
from fastapi.responses import JSONResponse
from redis import RedisError

from metaextract.extract import UnreadableFileError, extract, missing_tools
from metaextract.memory import Memory
from metaextract.settings import Settings
from metaextract.store import SCHEMA, Extraction, Store, Summary
from metaextract.upload import BodyLimit, display_name, on_disk

BIGGEST_ID = 2**63 - 1


def create_app(
    settings: Settings, store: Store | None = None, memory: Memory | None = None
) -> FastAPI:
    """The application. Tests hand in a store and a memory of their own."""
    kept = store or Store(settings.database_url)
    recalled = memory or Memory(settings.redis_url)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        kept.open()
        yield
        kept.close()
        recalled.close()

    app = FastAPI(title="MetaExtract", lifespan=lifespan)
    app.add_middleware(BodyLimit, limit=settings.max_upload_bytes)

    @app.exception_handler(psycopg.OperationalError)
    async def database_is_away(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": "The database does not answer. Try again soon."}, 503)

    def within_rate(request: Request) -> None:
        client = request.client.host if request.client else "unknown"
        wait = recalled.seconds_to_wait(client, settings.rate_limit_per_minute)
        if wait:
            message = f"Too many uploads. Try again in {wait} s."
            raise HTTPException(429, message, headers={"Retry-After": str(wait)})

    @app.get("/healthz")
    async def healthz() -> dict[str, bool]:
        """The process is alive. Asks nothing of anybody else."""
        return {"alive": True}

    @app.get("/readyz")
    def readyz() -> JSONResponse:
        """Everything an upload needs is there; 503 says what is not."""
        reasons = [f"{tool} is not on PATH" for tool in missing_tools()]
        try:
            kept.check()
        except psycopg.Error as error:
            reasons.append(f"database: {first_line(error)}")
        try:
            recalled.check()
        except RedisError as error:
            reasons.append(f"redis: {first_line(error)}")
        return JSONResponse({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    @app.get("/version")
    async def version() -> dict[str, str]:
        return {"release": settings.release, "schema": SCHEMA}

    @app.post("/api/extractions", status_code=201, dependencies=[Depends(within_rate)])
    def create(file: UploadFile) -> Extraction:
        with on_disk(file.file) as upload:
            result = recalled.recall(upload.sha256)
            if result is None:
                try:
                    result = extract(upload.path)
                except UnreadableFileError as error:
                    raise HTTPException(422, str(error)) from error
                recalled.remember(upload.sha256, result)
        return kept.add(display_name(file.filename), upload.sha256, upload.size_bytes, result)

    @app.get("/api/extractions")
    def recent(limit: Annotated[int, Query(ge=1, le=100)] = 20) -> list[Summary]:
        return kept.recent(limit)

    @app.get("/api/extractions/{id}")
    def one(id: Annotated[int, Path(ge=1, le=BIGGEST_ID)]) -> Extraction:
        extraction = kept.get(id)
        if extraction is None:
            raise HTTPException(404, f"There is no extraction {id}.")
        return extraction

    return app


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
