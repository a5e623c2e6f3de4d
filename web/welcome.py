"""What `atelier up` checks and says before it listens: who is in charge, and the first administrator's link."""

from __future__ import annotations

from shared.config import Settings
from shared.db import Database
from web import data_folder
from web.security import check_bind
from web.services.accounts import first_run_link, has_admin
from web.services.studio import open_studio
from web.up import address


def welcome(settings: Settings) -> list[str]:
    """Prepares the data folder for `atelier up`; the lines are for the terminal."""
    data_folder.prepare(settings)
    refuse_open_door(settings)
    studio = open_studio(settings)
    try:
        path = first_run_link(studio)
    finally:
        studio.close()
    if path is None:
        return []
    return [f"First run: set the administrator's password once at {address(settings)}{path}"]


def refuse_open_door(settings: Settings) -> None:
    """Raises BadSettings rather than let a public address be taken over by whoever comes first."""
    database = Database(settings.database, pool_size=1)
    try:
        check_bind(settings, has_admin(database))
    finally:
        database.dispose()
