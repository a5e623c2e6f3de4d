"""Settings: read once, refused when they are nonsense."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.config import LONGEST_SOCKET_PATH, child_environment, read_settings
from shared.errors import BadSettings


def test_a_setting_comes_from_its_variable_or_its_file(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("s" * 40 + "\n")
    settings = read_settings(
        {"ATELIER_LEASE_SECONDS": "30", "ATELIER_SECRET_KEY_FILE": str(secret)}, port=9
    )
    assert (settings.lease_seconds, settings.secret, settings.port) == (30, "s" * 40, 9)


@pytest.mark.parametrize(
    "environment",
    [
        {"ATELIER_LEASE_SECONDS": "soon"},
        {"ATELIER_LEASE_SECONDS": "-1"},
        {"ATELIER_LEASE_SECONDS": "6", "ATELIER_HEARTBEAT_SECONDS": "5"},
        {"ATELIER_PORT": "70000"},
        {"ATELIER_SECRET_KEY": "changeme"},
        {"ATELIER_SECRET_KEY_FILE": "/does/not/exist"},
        {"ATELIER_PUBLIC_URL": "ftp://x"},
        {"ATELIER_LAESE_SECONDS": "5"},
        {"ATELIER_EVENT_STREAMS": "64", "ATELIER_WEB_THREADS": "64"},
        {"ATELIER_LEASE_SECONDS": "60", "ATELIER_FROZEN_SECONDS": "60"},
    ],
)
def test_nonsense_stops_the_start(environment):
    with pytest.raises(BadSettings):
        read_settings(environment)


def test_database_and_redis_urls_are_honoured_as_they_are():
    settings = read_settings({"DATABASE_URL": "postgres://u@h/d", "REDIS_URL": "redis://h:1/0"})
    assert settings.database == "postgresql+psycopg://u@h/d"
    assert settings.broker == settings.redis == "redis://h:1/0"


def test_a_long_data_folder_still_gets_a_socket(tmp_path):
    settings = read_settings({}, data=tmp_path / ("d" * 150))
    assert len(str(settings.valkey_socket)) <= LONGEST_SOCKET_PATH
    assert settings.valkey_socket == read_settings({}, data=settings.data).valkey_socket
    assert settings.redis.startswith("unix:///")
    assert settings.broker.startswith("redis+socket:///")


def test_the_secret_is_made_once_and_kept_for_its_owner_alone(tmp_path):
    first = read_settings({}, data=tmp_path).secret
    assert len(first) >= 32
    assert read_settings({}, data=tmp_path).secret == first
    assert (tmp_path / "secret_key").stat().st_mode & 0o077 == 0


def test_an_empty_secret_is_refused_and_what_many_make_at_once_is_one(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: read_settings({}, data=tmp_path).secret, range(8)))
    assert len(made) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]
    (tmp_path / "secret_key").write_text("\n")
    with pytest.raises(BadSettings, match="is empty"):
        assert read_settings({}, data=tmp_path).secret


def test_a_child_reads_the_same_settings(tmp_path):
    settings = read_settings({"ATELIER_ALLOW_HTTP": "1"}, data=tmp_path, lease_seconds=33)
    names = {k: v for k, v in child_environment(settings).items() if k.startswith("ATELIER_")}
    again = read_settings(names)
    assert again.model_dump() == settings.model_dump()


def test_a_child_finds_no_file_that_stands_in_for_an_empty_setting(tmp_path, monkeypatch):
    """A scratch installation on its own SQLite must not come to the database of another one."""
    (tmp_path / "url").write_text("postgresql://h/people")
    for name in ("DATABASE_URL_FILE", "REDIS_URL_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "url"))
    again = read_settings(child_environment(read_settings({}, data=tmp_path)))
    assert again.database_url == again.redis_url == ""
