"""What the tests of whole checks share: the row of a dataset."""

from __future__ import annotations

from shared.models import Dataset


def row_of(db, dataset_id):
    with db.reading() as session:
        return session.get(Dataset, dataset_id)
