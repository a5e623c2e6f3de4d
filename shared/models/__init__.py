"""The tables, one a file. Times are seconds since 1970 by the database's clock."""

from __future__ import annotations

from shared.models.artifact import Artifact
from shared.models.audit import AuditEntry
from shared.models.checkpoint import Checkpoint
from shared.models.dataset import Dataset
from shared.models.dataset_item import DatasetItem
from shared.models.family import FamilyRow
from shared.models.idempotency_key import IdempotencyKey
from shared.models.invitation import Invitation
from shared.models.job import Job
from shared.models.job_event import JobEvent
from shared.models.job_log import JobLog
from shared.models.mark import Mark
from shared.models.metric_point import MetricPoint
from shared.models.model import Model
from shared.models.outbox import OutboxMessage
from shared.models.quota import Quota
from shared.models.result import Result
from shared.models.session import BrowserSession
from shared.models.short_task import ShortTask
from shared.models.sweep import Sweep
from shared.models.tally import Tally
from shared.models.token import ApiToken
from shared.models.upload import Upload
from shared.models.user import User
from shared.models.user_share import UserShare
from shared.models.webhook import Webhook
from shared.models.worker import Worker

__all__ = [
    "ApiToken",
    "Artifact",
    "AuditEntry",
    "BrowserSession",
    "Checkpoint",
    "Dataset",
    "DatasetItem",
    "FamilyRow",
    "IdempotencyKey",
    "Invitation",
    "Job",
    "JobEvent",
    "JobLog",
    "Mark",
    "MetricPoint",
    "Model",
    "OutboxMessage",
    "Quota",
    "Result",
    "ShortTask",
    "Sweep",
    "Tally",
    "Upload",
    "User",
    "UserShare",
    "Webhook",
    "Worker",
]
