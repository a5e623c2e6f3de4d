"""A small typed client of Atelier's HTTP API.

    with Client("http://127.0.0.1:8000", token) as atelier:
        data = atelier.datasets.wait(atelier.datasets.add(sample="digits")["id"])
        job = atelier.jobs.submit("train", family="vae", dataset_id=data["id"])
        job = atelier.jobs.wait(job["id"])

Every object is the dict that the API answers with; see its documentation for the fields.
"""

from __future__ import annotations

from atelier_client.client import Client
from atelier_client.errors import ApiError, BrokenDownload, ClientError, Unreachable

__all__ = ["ApiError", "BrokenDownload", "Client", "ClientError", "Unreachable"]
