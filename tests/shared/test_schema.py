"""A database of another version of the schema is told from ours."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import text

import migrations
from shared.schema import Schema, revisions


@pytest.fixture
def stamp(db):
    with db.writing() as session:
        session.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        session.execute(text("INSERT INTO alembic_version VALUES ('')"))

    def stamp(version: str) -> None:
        with db.writing() as session:
            session.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})

    return stamp


def fits(schema, db) -> bool:
    with db.reading() as session:
        return schema.fits(session)


def test_the_files_names_tell_the_revisions(tmp_path):
    url = f"sqlite:///{tmp_path / 'a.db'}"
    migrations.upgrade(url, revisions()[-1])
    assert migrations.status(url) == "current"


def test_tables_that_no_migration_made_are_taken(db):
    assert fits(Schema(), db)


@pytest.mark.parametrize(
    ("version", "remedy"), [("9999", "newer version"), ("0001", "db upgrade"), ("", "db upgrade")]
)
def test_another_version_does_not_fit_until_it_is_ours_and_both_are_said_once(
    db, stamp, caplog, version, remedy
):
    schema = Schema()
    stamp(version)
    with caplog.at_level(logging.INFO):
        assert not fits(schema, db) and not fits(schema, db)
        stamp(revisions()[-1])
        assert fits(schema, db) and fits(schema, db)
    assert [remedy in record.message for record in caplog.records] == [True, False]
    assert "claiming goes on" in caplog.records[-1].message
