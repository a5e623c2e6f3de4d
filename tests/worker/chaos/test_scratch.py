"""A soak works only where nothing of others can be lost."""

from __future__ import annotations

import pytest

from shared.db import Database
from shared.errors import BadSettings
from tests.conftest import make_tables
from tests.servers import ValkeyServer
from tests.work import add_user
from worker.chaos import scratch


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "scratch"


def settings_of(make_settings, folder, **more):
    return make_settings(**{"data": folder, "database_url": "", "redis_url": ""} | more)


def test_an_empty_folder_is_taken_and_taken_again(make_settings, folder):
    settings = settings_of(make_settings, folder)
    scratch.claim(settings)
    make_tables(settings.database)
    db = Database(settings.database)
    add_user(db, "admin")
    add_user(db, "chaos-1")
    db.dispose()
    scratch.claim(settings)


def test_a_folder_with_anything_in_it_is_refused(make_settings, folder):
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(BadSettings, match="no soak has made"):
        scratch.claim(settings_of(make_settings, folder))
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_a_scratch_installation_where_somebody_moved_in_is_refused(make_settings, folder):
    settings = settings_of(make_settings, folder)
    scratch.claim(settings)
    make_tables(settings.database)
    db = Database(settings.database)
    add_user(db, "ann")
    db.dispose()
    with pytest.raises(BadSettings, match="ann"):
        scratch.claim(settings)


def test_a_database_with_tables_is_refused(make_settings, folder, postgres_url):
    with pytest.raises(BadSettings, match="--database-url"):
        scratch.claim(settings_of(make_settings, folder, database_url=postgres_url))
    assert not folder.exists()


def test_an_empty_database_is_taken_and_taken_again_from_the_same_folder_only(
    make_settings, folder, postgres
):
    postgres.execute("CREATE DATABASE scratch_once")
    url = postgres.url("scratch_once")
    scratch.claim(settings_of(make_settings, folder, database_url=url))
    make_tables(url)
    scratch.claim(settings_of(make_settings, folder, database_url=url))
    with pytest.raises(BadSettings, match="--database-url"):
        scratch.claim(settings_of(make_settings, folder.parent / "other", database_url=url))


@pytest.fixture
def server(tmp_path):
    found = ValkeyServer(tmp_path)
    found.start()
    yield found
    found.kill()


@pytest.mark.parametrize("key", ["cart:7", "atelier:_kombu.binding.tasks.cpu"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_redis_with_keys_of_others_is_refused_whichever_number_they_have(
    make_settings, folder, server, number, key
):
    """Those of an installation that people use are others, too."""
    settings = settings_of(make_settings, folder, redis_url=server.url, redis_prefix="atelier:")
    scratch.claim(settings)
    with server.client() as client:
        client.select(number)
        client.set(key, "books")
    with pytest.raises(BadSettings, match="--redis-url"):
        scratch.claim(settings)


def test_the_redis_of_an_earlier_soak_is_taken_again(make_settings, folder, server):
    with server.client() as client:
        client.set(f"{scratch.PREFIX}wake:train", "1")
    scratch.claim(settings_of(make_settings, folder, redis_url=server.url))


def test_a_storage_beside_the_folder_is_refused(make_settings, folder, tmp_path):
    with pytest.raises(BadSettings, match="its own folder"):
        scratch.claim(settings_of(make_settings, folder, storage=str(tmp_path)))
    assert not folder.exists()
