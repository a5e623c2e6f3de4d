"""What is seen of a dataset before it is used: the preview that its check counted, and its thumbnails."""

from __future__ import annotations

import json
from typing import Any

from shared import dataset_preview, datasets, packs, thumbnails
from shared.errors import NotFound
from shared.models import Dataset, DatasetItem, User
from web.services import access
from web.services.datasets import item_shape
from web.services.studio import Studio

Shape = dict[str, Any]


def preview(studio: Studio, user: User, dataset_id: str) -> tuple[Shape, str]:
    """The preview and the dataset's hash, which changes when it could. Raises NotFound before there is one."""
    with studio.db.reading() as session:
        dataset = access.readable(session, Dataset, dataset_id, user)
    if dataset.state != "ready":
        raise NotFound("There is no preview of this dataset yet.")
    with studio.storage.open(datasets.key_of(dataset.id, dataset_preview.FILE)) as file:
        return json.load(file), dataset.sha256


def open_thumbnail(
    studio: Studio, user: User, dataset_id: str, n: int, size: int
) -> tuple[Shape, packs.Section]:
    """A picture's item, as what is shown of it, and the bytes. A small picture is its own thumbnail."""
    with studio.db.reading() as session:
        dataset = access.readable(session, Dataset, dataset_id, user)
        row = session.get(DatasetItem, (dataset.id, n))
    if row is None or dataset.state != "ready" or row.media_type != "image/png":
        raise NotFound()
    offset, length = _place(studio, dataset.id, n, size)
    name = thumbnails.DATA if length else packs.DATA
    data = studio.storage.open(datasets.key_of(dataset.id, name))
    item = item_shape(row)
    if not length:
        return item, packs.Section(data, row.offset, row.bytes)
    shown = item | {"bytes": length, "media_type": "image/jpeg", "name": f"{row.name}.jpg"}
    return shown, packs.Section(data, offset, length)


def _place(studio: Studio, dataset_id: str, n: int, size: int) -> tuple[int, int]:
    try:
        with studio.storage.open(datasets.key_of(dataset_id, thumbnails.INDEX)) as index:
            return thumbnails.place_of(index, n, size)
    except NotFound:
        return 0, 0  # checked before there were thumbnails
