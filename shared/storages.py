"""Opens the storage that the settings name."""

from __future__ import annotations

from shared.config import Settings
from shared.storage import LocalStorage, Storage

# So long a worker goes on asking a storage that is away; who asks for a page is told sooner.
PATIENCE = 60.0
SHORT_PATIENCE = 5.0


def open_storage(settings: Settings, patience: float = PATIENCE) -> Storage:
    if not settings.on_s3:
        return LocalStorage(settings.storage_folder)
    # obstore is an extra: nobody else needs it
    from shared.object_storage import ObjectStorage

    return ObjectStorage(settings, patience)
