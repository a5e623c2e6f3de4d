"""The migrations make exactly the tables of the models, on both databases, and take them away again."""

from __future__ import annotations

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

import migrations
import shared.models
from migrations import __main__ as command
from shared.db import metadata
from shared.errors import DatabaseTooNew
from shared.ids import new_id


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server = request.getfixturevalue("postgres")
    name = f"empty_{new_id()}"
    server.execute(f"CREATE DATABASE {name}")
    yield server.url(name)
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def engine(empty_database_url):
    engine = create_engine(empty_database_url)
    yield engine
    engine.dispose()


def tables(engine) -> set[str]:
    return set(inspect(engine).get_table_names()) - {"alembic_version"}


def set_version(engine, version: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})


def test_upgrade_makes_what_the_models_say(empty_database_url, engine):
    migrations.upgrade(empty_database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    assert tables(engine) == set(metadata.tables)


def test_downgrade_leaves_nothing(empty_database_url, engine):
    migrations.upgrade(empty_database_url)
    migrations.downgrade(empty_database_url)
    assert tables(engine) == set()
    assert migrations.status(empty_database_url) == "empty"


def test_upgrade_twice_changes_nothing(empty_database_url):
    migrations.upgrade(empty_database_url)
    migrations.upgrade(empty_database_url)
    assert migrations.status(empty_database_url) == "current"


def test_two_upgrades_at_once_make_the_tables_once(empty_database_url):
    problems = []

    def upgrade():
        try:
            migrations.upgrade(empty_database_url)
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert migrations.status(empty_database_url) == "current"


def test_a_newer_database_is_refused_and_left_alone(empty_database_url, engine):
    migrations.upgrade(empty_database_url)
    set_version(engine, "9999")
    assert migrations.status(empty_database_url) == "newer"
    for change in (migrations.upgrade, migrations.downgrade):
        with pytest.raises(DatabaseTooNew):
            change(empty_database_url)
    assert tables(engine) == set(metadata.tables)


def test_status_of_a_missing_file_makes_no_file(tmp_path):
    assert migrations.status(f"sqlite:///{tmp_path / 'none.db'}") == "empty"
    assert list(tmp_path.iterdir()) == []


def test_a_failed_migration_changes_nothing(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'a.db'}"

    def broken(_connection):
        raise RuntimeError("as if the last statement had failed")

    monkeypatch.setattr(migrations, "_check_foreign_keys", broken)
    with pytest.raises(RuntimeError):
        migrations.upgrade(url)
    engine = create_engine(url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_every_migration_is_named_by_number_and_change():
    names = sorted(path.stem for path in (migrations.HERE / "versions").glob("[0-9]*.py"))
    assert [name[:4] for name in names] == [f"{n:04}" for n in range(1, len(names) + 1)]
    assert all(name[4] == "_" and name[5:] for name in names)


def test_the_next_migration_has_the_next_number_and_no_remarks(tmp_path):
    folder = tmp_path / "versions"
    folder.mkdir()
    existing = migrations.HERE / "versions"
    for path in existing.glob("[0-9]*.py"):
        (folder / path.name).write_text(path.read_text())
    made = migrations.make("Nothing at all", f"sqlite:///{tmp_path / 'a.db'}", folder)
    assert made.name == f"{len(list(existing.glob('[0-9]*.py'))) + 1:04}_nothing_at_all.py"
    assert "###" not in made.read_text()
    compile(made.read_text(), made.name, "exec")


def test_the_command_wants_to_know_what_changed(capsys):
    assert command.main(["make", " "]) == 2
    assert "what changed" in capsys.readouterr().err


def test_the_models_are_in_the_metadata():
    assert shared.models.Job.__tablename__ in metadata.tables
