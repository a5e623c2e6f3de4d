"""`atelier up` as its users know it: ready, guarded, tended, and gone without a trace."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys

import httpx
import psutil
import pytest
from sqlalchemy import create_engine, text

from shared.config import Settings
from shared.errors import BadSettings
from tests.installation import ROOT, Installation
from tests.servers import free_port, wait_until
from web import up, valkey


@pytest.fixture(scope="module")
def atelier():
    with Installation(families="none") as installation:
        yield installation


def processes(installation) -> dict[str, psutil.Process]:
    """The direct children by what they are."""
    found = {}
    for child in psutil.Process(installation.process.pid).children():
        try:
            words = " ".join(child.cmdline())
        except psutil.Error:  # it has just ended
            continue
        for name in ("web.server", "valkey", "worker device", "worker cpu"):
            if name in words:
                found[name] = child
    return found


def all_four(installation):
    found = processes(installation)
    return found if len(found) == 4 else None


def try_up(*arguments, **environment) -> subprocess.CompletedProcess:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ATELIER_")}
    return subprocess.run(
        [sys.executable, "-m", "web.cli", "up", *arguments],
        cwd=ROOT,
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_says_where_it_is_and_who_comes_first(atelier):
    log = wait_until(lambda: "is ready at" in atelier.log() and atelier.log())
    assert f"Atelier is ready at {atelier.url}" in log
    assert re.search(rf"First run: .* {atelier.url}/welcome/\S+", log)


def test_each_process_has_a_session_of_its_own(atelier):
    found = wait_until(lambda: all_four(atelier))
    sessions = {os.getsid(process.pid) for process in found.values()}
    assert len(sessions) == 4
    assert os.getsid(atelier.process.pid) not in sessions


def test_the_folder_and_the_socket_are_private(atelier):
    settings = Settings(data=atelier.folder)
    wait_until(settings.valkey_socket.exists)
    assert settings.valkey_socket.stat().st_mode & 0o077 == 0
    assert atelier.folder.stat().st_mode & 0o077 == 0


def test_a_second_one_on_the_same_folder_refuses(atelier):
    second = try_up("--data", str(atelier.folder), "--port", str(free_port()))
    assert second.returncode == 2
    assert f"process {atelier.process.pid}" in second.stderr


@pytest.mark.parametrize("name", ["web.server", "valkey", "worker cpu", "worker device"])
def test_what_is_killed_comes_back(atelier, name):
    before = wait_until(lambda: all_four(atelier))[name]
    family = before.children(recursive=True)
    before.kill()
    wait_until(lambda: (processes(atelier).get(name) or before) != before, 60)
    gone, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []
    wait_until(atelier.is_ready, 60)


def test_a_port_that_is_taken_is_told(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = try_up("--data", str(tmp_path), "--port", str(port))
    assert result.returncode == 2
    assert f"127.0.0.1:{port}" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_port_zero_is_refused(tmp_path):
    result = try_up("--data", str(tmp_path), "--port", "0")
    assert result.returncode == 2
    assert "ATELIER_PORT" in result.stderr


def test_a_public_address_is_refused_while_nobody_is_in_charge(tmp_path):
    result = try_up("--data", str(tmp_path), "--port", str(free_port()), "--host", "0.0.0.0")
    assert result.returncode == 2
    assert "no administrator" in result.stderr


def test_a_newer_database_is_refused_and_nothing_runs_on(tmp_path):
    from web.data_folder import prepare

    settings = Settings(data=tmp_path)
    prepare(settings)
    engine = create_engine(settings.database)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    result = try_up("--data", str(tmp_path), "--port", str(free_port()))
    assert result.returncode == 1
    assert "newer" in result.stderr


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_in_order(sign):
    with Installation(families="none") as installation:
        wait_until(lambda: all_four(installation))
        family = psutil.Process(installation.process.pid).children(recursive=True)
        installation.process.send_signal(sign)
        assert installation.process.wait(60) == 0
        assert psutil.wait_procs(family, timeout=0)[1] == []
        installation.process = None


def test_killing_it_leaves_nothing_behind():
    with Installation(families="none") as installation:
        wait_until(lambda: all_four(installation))
        family = psutil.Process(installation.process.pid).children(recursive=True)
        installation.process.kill()
        installation.process.wait()
        assert psutil.wait_procs(family, timeout=10)[1] == []
        # the folder is free again at once
        installation.start()
        assert httpx.get(f"{installation.url}/healthz").status_code == 200


# ---- the parts -----------------------------------------------------------------------------------


def test_one_worker_for_each_gpu_and_each_sees_only_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    children = up._workers(Settings(data=tmp_path))
    assert [child.name for child in children] == ["device-0", "device-1", "cpu-0"]
    assert [c.environment["CUDA_VISIBLE_DEVICES"] for c in children[:2]] == ["2", "5"]


def test_without_gpus_the_workers_share_the_cores(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    one = up._workers(Settings(data=tmp_path))
    assert (
        "ATELIER_THREADS" not in one[0].environment or one[0].environment["ATELIER_THREADS"] == "0"
    )
    monkeypatch.setattr(up.os, "sched_getaffinity", lambda _pid: range(8))
    three = up._workers(Settings(data=tmp_path, workers=3))
    assert [child.environment["ATELIER_THREADS"] for child in three[:3]] == ["2", "2", "2"]


def test_a_redis_of_ones_own_is_used(tmp_path):
    installation = up.Installation(Settings(data=tmp_path, redis_url="redis://r/0"))
    assert installation.valkey == []


@pytest.mark.parametrize(
    ("host", "public_url", "shown"),
    [
        ("127.0.0.1", "", "http://127.0.0.1:8000"),
        ("0.0.0.0", "", "http://127.0.0.1:8000"),
        ("::1", "", "http://[::1]:8000"),
        ("0.0.0.0", "https://a.example/", "https://a.example"),
    ],
)
def test_the_address_is_one_that_people_can_open(host, public_url, shown):
    assert up.address(Settings(host=host, public_url=public_url)) == shown


def test_a_host_that_does_not_exist_is_told():
    with pytest.raises(BadSettings, match="ATELIER_HOST"):
        up.refuse_port(Settings(host="no-such-host.invalid"))


def test_valkey_listens_on_a_private_socket_only(tmp_path):
    command = valkey.command(Settings(data=tmp_path))
    assert command[command.index("--port") + 1] == "0"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"


def test_a_long_path_puts_the_socket_into_a_private_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    settings = Settings(data=tmp_path / ("x" * 120))
    valkey.command(settings)
    assert settings.valkey_socket.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_somebody_else_prepared_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    settings = Settings(data=tmp_path / ("x" * 120))
    settings.valkey_socket.parent.symlink_to(tmp_path)
    with pytest.raises(BadSettings, match="somebody else"):
        valkey.command(settings)
