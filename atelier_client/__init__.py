"""A small typed client of Atelier's HTTP API.

    with Client("http://127.0.0.1:8000", token) as atelier:
        data = atelier.datasets.add(sample="digits").wait()
        job = atelier.jobs.submit("train", {"steps": 500}, family="vae", dataset_id=data.id).wait()
        for artifact in atelier.generate(job.result["model_id"], count=4):
            artifact.save("pictures/")

Every object is the dict that the API answers with, and its fields are attributes, too.
"""

from __future__ import annotations

from atelier_client.account import Me, Token, User
from atelier_client.artifacts import Artifact
from atelier_client.client import Client
from atelier_client.datasets import Dataset
from atelier_client.errors import (
    ApiError,
    BrokenDownload,
    ClientError,
    Conflict,
    InvalidInput,
    JobFailed,
    NotAllowed,
    NotFound,
    NotSignedIn,
    QuotaExceeded,
    TooManyRequests,
    Unreachable,
)
from atelier_client.jobs import Checkpoint, Estimate, Job
from atelier_client.models import Family, Model
from atelier_client.uploads import Upload
from atelier_client.webhooks import Delivery, Webhook

__all__ = [
    "ApiError",
    "Artifact",
    "BrokenDownload",
    "Checkpoint",
    "Client",
    "ClientError",
    "Conflict",
    "Dataset",
    "Delivery",
    "Estimate",
    "Family",
    "InvalidInput",
    "Job",
    "JobFailed",
    "Me",
    "Model",
    "NotAllowed",
    "NotFound",
    "NotSignedIn",
    "QuotaExceeded",
    "Token",
    "TooManyRequests",
    "Unreachable",
    "Upload",
    "User",
    "Webhook",
]
