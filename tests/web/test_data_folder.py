"""The data folder is made private, held by one process, migrated, and refused where SQLite would break."""

from __future__ import annotations

import os
import stat

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import OperationalError

import migrations
from shared.config import Settings
from shared.db import Database
from shared.errors import BadSettings, DatabaseTooNew
from shared.ids import new_id
from shared.models import FamilyRow, User
from tests.servers import free_port
from web import data_folder

MOUNTS = """\
21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 21 0:40 / /home rw,relatime - nfs4 server:/home rw
31 30 0:41 / /home/local rw - xfs /dev/sdb1 rw
32 21 0:42 / /mnt/with\\040space rw - cifs //server/share rw
33 21 0:43 / /mnt/s3 rw - fuse.s3fs s3fs rw
34 21 0:44 / /mnt/overlay rw - fuse.fuse-overlayfs fuse rw
"""


@pytest.fixture
def mounts(tmp_path):
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize("folder", ["/home/ann/data", "/mnt/with space/x", "/mnt/s3"])
def test_a_network_file_system_is_refused(mounts, folder):
    with pytest.raises(BadSettings, match="network file system"):
        data_folder.refuse_network_file_system(data_folder.Path(folder), mounts)


@pytest.mark.parametrize("folder", ["/srv/data", "/home/local/data", "/mnt/overlay/data"])
def test_a_local_disk_is_accepted(mounts, folder):
    data_folder.refuse_network_file_system(data_folder.Path(folder), mounts)


def test_a_system_that_does_not_tell_is_trusted(tmp_path):
    assert data_folder.file_system_of(tmp_path, tmp_path / "missing") == ""


def test_the_folder_of_these_tests_has_a_file_system(tmp_path):
    assert data_folder.file_system_of(tmp_path)


def test_prepare_makes_a_private_folder_and_the_tables(tmp_path):
    settings = Settings(data=tmp_path / "new" / "data")
    data_folder.prepare(settings)
    assert stat.S_IMODE(settings.data.stat().st_mode) == 0o700
    assert migrations.status(settings.database) == "current"
    data_folder.prepare(settings)


def test_prepare_refuses_a_newer_database(tmp_path):
    settings = Settings(data=tmp_path)
    data_folder.prepare(settings)
    engine = create_engine(settings.database)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(DatabaseTooNew):
        data_folder.prepare(settings)


@pytest.mark.parametrize("patience", [0.0, 0.6])
def test_a_database_that_does_not_answer_is_waited_for_and_told_in_words(
    tmp_path, patience, caplog
):
    url = f"postgresql://somebody:canary@127.0.0.1:{free_port()}/none"
    settings = Settings(data=tmp_path, database_url=url)
    with pytest.raises(BadSettings) as caught:
        data_folder.prepare(settings, patience)
    assert "DATABASE_URL: the database does not answer" in str(caught.value)
    assert "canary" not in str(caught.value) + caplog.text
    assert ("waiting for the database" in caplog.text) == (patience > 0)


def test_a_database_that_comes_late_is_prepared(tmp_path, monkeypatch):
    asked = []

    def status(url):
        asked.append(url)
        if len(asked) < 3:
            raise OperationalError("SELECT", {}, Exception("starting up"))
        return real(url)

    real = migrations.status
    monkeypatch.setattr("migrations.status", status)
    monkeypatch.setattr(data_folder, "AGAIN_SECONDS", 0.01)
    settings = Settings(data=tmp_path)
    data_folder.prepare(settings, 60)
    assert len(asked) == 3
    assert real(settings.database) == "current"


def test_a_postgresql_in_the_c_locale_keeps_chinese_and_is_warned_of(tmp_path, postgres, caplog):
    postgres.execute("CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'")
    settings = Settings(data=tmp_path, database_url=postgres.url("ascii"))
    data_folder.prepare(settings)
    assert "in SQL_ASCII" in caplog.text
    db, said = Database(settings.database), {"李白": "床前明月光"}
    with db.writing() as session:
        session.add(User(id=new_id(), name="李白", created_at=1.0))
        session.add(FamilyRow(name="poet", version=1, announcement=said, announced_at=1.0))
    with db.reading() as session:
        assert session.scalar(select(User.name)) == "李白"
        assert session.scalar(select(FamilyRow.announcement)) == said
    db.dispose()


def test_a_file_in_the_way_is_a_setting_that_is_wrong(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSettings, match="ATELIER_DATA"):
        data_folder.make(tmp_path / "file" / "data")


def test_two_cannot_hold_one_folder(tmp_path):
    with data_folder.locked(tmp_path):
        with pytest.raises(BadSettings, match=str(os.getpid())):
            with data_folder.locked(tmp_path):
                pass
    with data_folder.locked(tmp_path):
        pass
