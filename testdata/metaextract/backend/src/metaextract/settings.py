"""What the environment says, read once at start and checked there."""

from collections.abc import Mapping
from dataclasses import dataclass

MEGABYTE = 1_000_000


class SettingsError(ValueError):
    """A variable is missing or cannot be used. The message names it."""


@dataclass(frozen=True)
class Settings:
    database_url: str
    redis_url: str
    release: str = "development"
    rate_limit_per_minute: int = 120
    max_upload_bytes: int = 25 * MEGABYTE

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        return cls(
            database_url=_url(env, "DATABASE_URL", ("postgres", "postgresql")),
            redis_url=_url(env, "REDIS_URL", ("redis", "rediss")),
            release=env.get("RELEASE") or cls.release,
            rate_limit_per_minute=_count(env, "RATE_LIMIT_PER_MINUTE", cls.rate_limit_per_minute),
            max_upload_bytes=_count(env, "MAX_UPLOAD_BYTES", cls.max_upload_bytes),
        )


def _url(env: Mapping[str, str], name: str, schemes: tuple[str, ...]) -> str:
    value = env.get(name, "")
    # The value may hold a password, so no message repeats it.
    if not value:
        raise SettingsError(f"{name} is not set: give it a {schemes[0]}:// address")
    if value.partition("://")[0] not in schemes:
        raise SettingsError(f"{name} must begin with {schemes[0]}://")
    return value


def _count(env: Mapping[str, str], name: str, default: int) -> int:
    value = env.get(name, "")
    if not value:
        return default
    if not (value.isascii() and value.isdigit()) or int(value) == 0:
        raise SettingsError(f"{name} must be a whole number above zero, not {value!r}")
    return int(value)
