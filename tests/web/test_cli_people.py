"""`atelier user list, show, set, invite, token` on a data folder, without a server."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from shared.config import Settings
from web import cli
from web.services import people
from web.services.studio import open_studio
from web.services.tokens import find_token


@pytest.fixture
def local(tmp_path):
    """Runs a command on a data folder of its own."""

    def run(*arguments, **environment):
        folder = tmp_path / "data"
        runner = CliRunner(env=environment)
        return runner.invoke(cli.main, [*arguments, "--data", str(folder)])

    assert run("user", "create", "root", "--admin").exit_code == 0
    assert run("user", "create", "ann").exit_code == 0
    return run


@pytest.fixture
def opened(tmp_path):
    studio = open_studio(Settings(data=tmp_path / "data"))
    yield studio
    studio.close()


def test_list_and_show_print_accounts_and_what_they_hold(local):
    table = local("user", "list").stdout
    assert "ann" in table and "root" in table and "admin" in table
    names = [one["name"] for one in json.loads(local("user", "list", "--json").stdout)]
    assert names == ["ann", "root"]
    shown = json.loads(local("user", "show", "ann", "--json").stdout)
    assert shown["use"]["queued_jobs"] == 0
    assert "max_queued_jobs" in local("user", "show", "ann").stdout
    assert local("user", "show", "nobody").exit_code == 3


def test_set_changes_quotas_and_takes_them_back(local):
    changed = local(
        "user", "set", "ann", "--max-running-jobs", "2", "--max-device-seconds-a-day", "3600",
        "--weight", "2", "--json",
    )  # fmt: skip
    assert changed.exit_code == 0, changed.output
    found = json.loads(changed.stdout)
    assert found["quota"]["max_running_jobs"] == 2
    assert found["quota"]["max_device_seconds_a_day"] == 3600
    assert found["weight"] == 2
    changed = local("user", "set", "ann", "--max-running-jobs", "default", "--json")
    assert json.loads(changed.stdout)["quota"]["max_running_jobs"] is None


def test_set_deactivates_and_keeps_the_last_administrator(local):
    assert local("user", "set", "ann", "--inactive").exit_code == 0
    assert json.loads(local("user", "show", "ann", "--json").stdout)["active"] is False
    refused = local("user", "set", "root", "--role", "user")
    assert refused.exit_code == 3
    assert "last administrator" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 2),
        (("--max-queued-jobs", "many"), 2),
        (("--max-queued-jobs", "-1"), 3),
        (("--max-queued-jobs", "nan"), 3),
        (("--max-queued-jobs", "1.5"), 3),
        (("--weight", "0"), 3),
        (("--role", "root"), 2),
    ],
)
def test_set_refuses_nonsense(local, arguments, code):
    assert local("user", "set", "ann", *arguments).exit_code == code


def test_invite_prints_a_link_unless_sign_up_is_closed(local):
    refused = local("user", "invite")
    assert refused.exit_code == 3
    assert "ATELIER_SIGN_UP" in refused.stderr
    made = local("user", "invite", "--note", "Eve", "--uses", "2", ATELIER_SIGN_UP="invite")
    assert "/join/" in made.stdout


def test_token_prints_one_line_with_the_scopes_that_were_asked(local, opened):
    made = local("user", "token", "ann", "--scope", "jobs:read", "--scope", "models:read")
    assert made.exit_code == 0, made.output
    row, user = find_token(opened, made.stdout.strip())
    assert (user.name, row.scopes) == ("ann", "jobs:read models:read")
    assert local("user", "token", "ann", "--scope", "root").exit_code == 2
    assert local("user", "token", "ann", "--scope", "admin").exit_code == 3
    local("user", "set", "ann", "--inactive")
    assert local("user", "token", "ann").exit_code == 3
    assert people.get_user(opened, user.id)["active"] is False
