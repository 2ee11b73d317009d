import pytest

from metaextract.settings import Settings, SettingsError

ENV = {"DATABASE_URL": "postgres://u:hunter2@db/app", "REDIS_URL": "redis://cache:6379/0"}


def test_defaults() -> None:
    settings = Settings.from_env(ENV)
    assert settings.release == "development"
    assert settings.rate_limit_per_minute == 120


def test_everything_set() -> None:
    env = {**ENV, "RELEASE": "v2", "RATE_LIMIT_PER_MINUTE": "5", "MAX_UPLOAD_BYTES": "1000"}
    settings = Settings.from_env(env)
    assert settings.release == "v2"
    assert settings.rate_limit_per_minute == 5
    assert settings.max_upload_bytes == 1000


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("DATABASE_URL", "", "DATABASE_URL is not set"),
        ("DATABASE_URL", "mysql://u:hunter2@db/app", "DATABASE_URL must begin with postgres://"),
        ("REDIS_URL", "", "REDIS_URL is not set"),
        ("RATE_LIMIT_PER_MINUTE", "0", "RATE_LIMIT_PER_MINUTE must be a whole number above zero"),
        ("MAX_UPLOAD_BYTES", "25 MB", "MAX_UPLOAD_BYTES must be a whole number above zero"),
    ],
)
def test_a_wrong_variable_is_named_and_no_secret_is_shown(
    name: str, value: str, message: str
) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        Settings.from_env({**ENV, name: value})
    assert "hunter2" not in str(caught.value)
