"""Every setting: name, default, help. The only reader of the environment; nonsense stops the start.

A setting NAME is read from ATELIER_NAME, or from the file that ATELIER_NAME_FILE points to (for secrets).
DATABASE_URL and REDIS_URL are honoured as they are.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.errors import BadSettings
from shared.webhook_targets import networks_of

PREFIX = "ATELIER_"
UNPREFIXED = {"database_url": "DATABASE_URL", "redis_url": "REDIS_URL"}
KNOWN_WEAK_SECRETS = {"dev", "secret", "changeme", "change-me", "atelier", "password", "test"}
# sun_path holds 108 bytes with its final NUL
LONGEST_SOCKET_PATH = 107

Seconds = Annotated[float, Field(gt=0, le=86_400 * 365)]


class Settings(BaseModel):
    """All settings, frozen once read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Field(
        Path("data"), description="Folder of the database, the storage and the runs."
    )
    host: str = Field("127.0.0.1", description="Address the web server binds.")
    port: int = Field(8000, ge=0, le=65535, description="Port of the web server.")
    public_url: str = Field("", description="Origin people use, like https://atelier.example.")
    trusted_proxies: int = Field(
        0, ge=0, le=10, description="Proxies before web whose X-Forwarded-For is believed."
    )
    allow_http: bool = Field(False, description="Allow sign-in over plain http beyond loopback.")
    secret_key: str = Field("", description="Signs cookies; made in the data folder when empty.")
    database_url: str = Field("", description="SQLAlchemy URL; SQLite in the data folder if empty.")
    redis_url: str = Field("", description="Redis or Valkey; an embedded Valkey when empty.")
    storage: str = Field(
        "", description="A folder or s3://BUCKET/PREFIX for results; in the data folder if empty."
    )
    s3_endpoint: str = Field("", description="URL of the S3 server; Amazon's when empty.")
    s3_region: str = Field("", description="Region of the bucket.")
    s3_access_key: str = Field("", description="Key id; the usual AWS_ variables when empty.")
    s3_secret_key: str = Field("", description="The key itself; the same.")
    cache_bytes: int = Field(
        50 << 30, ge=0, description="Inputs from S3 that a worker's machine keeps."
    )
    redis_prefix: str = Field("atelier:", description="Prefix of every key in Redis.")
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Log level.")

    lease_seconds: Seconds = Field(60, description="How long a claim holds without a heartbeat.")
    heartbeat_seconds: Seconds = Field(5, description="How often a supervisor renews its leases.")
    poll_seconds: Seconds = Field(1, description="How often a supervisor looks into SQL unasked.")
    reap_seconds: Seconds = Field(5, description="How often expired leases are looked for.")
    backoff_seconds: Seconds = Field(5, description="First wait after a strike; doubles each time.")
    checkpoint_seconds: Seconds = Field(60, description="Time between checkpoints of a training.")
    slice_seconds: Seconds = Field(300, description="Trainings rotate between users after this.")
    deaf_seconds: Seconds = Field(120, description="A runner silent for longer is killed.")
    frozen_seconds: Seconds = Field(
        180, ge=20, description="A worker's child that makes no turn for longer is killed."
    )
    drain_seconds: Seconds = Field(30, description="A drain that takes longer is cut short.")
    version_gone_seconds: Seconds = Field(86_400, description="Fail jobs nobody offers to run.")

    workers: int = Field(0, ge=0, le=64, description="Device workers; 0 is one for each device.")
    device: str = Field("auto", description="Torch device of a worker: auto, cpu or cuda:N.")
    threads: int = Field(0, ge=0, le=1024, description="CPU threads of a runner; 0 is all cores.")
    families: str = Field("", description="Only these families, comma-separated; all when empty.")
    family_path: str = Field("", description="Folders with further family files, ':' between.")
    generation_items: int = Field(64, ge=1, le=4096, description="Outputs in flight on a device.")
    runner_jobs: int = Field(200, ge=0, description="A runner starts anew after so many; 0: never.")
    runner_memory_bytes: int = Field(0, ge=0, description="Memory limit of a runner; 0 is none.")

    web_threads: int = Field(64, ge=2, le=2000, description="Blocking threads of the web server.")
    event_streams: int = Field(40, ge=0, le=1900, description="Event streams open at a time.")
    max_upload_bytes: int = Field(2 << 30, ge=1, description="Largest upload.")
    max_body_bytes: int = Field(1 << 20, ge=1024, description="Largest body that is no upload.")
    max_items: int = Field(1_000_000, ge=1, description="Items of one dataset.")
    max_image_bytes: int = Field(64 << 20, ge=1, description="Largest file of a picture.")
    max_image_pixels: int = Field(40_000_000, ge=1, description="Pixels of one picture.")
    max_dataset_pixels: int = Field(10**11, ge=1, description="Pixels of a dataset's pictures.")
    max_text_bytes: int = Field(2 << 30, ge=1, description="Largest text of a dataset.")
    max_dataset_characters: int = Field(4 * 10**9, ge=1, description="Characters of a dataset.")
    max_queued_jobs: int = Field(10_000, ge=1, description="Queued jobs of one user.")
    max_running_jobs: int = Field(0, ge=0, description="Running jobs of one user; 0 is no limit.")
    max_device_seconds_a_day: float = Field(
        0, ge=0, le=1e9, description="Device-seconds of one user in 24 hours; 0 is no limit."
    )
    max_storage_bytes: int = Field(50 << 30, ge=1, description="Stored bytes of one user.")
    max_job_seconds: Seconds = Field(7 * 86_400, description="Jobs estimated longer are refused.")
    disk_low_percent: float = Field(5, ge=0, le=90, description="Below it no job is accepted.")
    sign_up: Literal["closed", "invite", "open"] = Field(
        "closed", description="Who may make an account: closed, invite or open."
    )
    disk_sweep_percent: float = Field(10, ge=0, le=95, description="Below it a sweep runs at once.")
    session_seconds: Seconds = Field(14 * 86_400, description="Life of a browser session.")
    keep_checkpoints: int = Field(2, ge=1, le=100, description="Checkpoints kept beside the best.")
    keep_final_seconds: Seconds = Field(
        7 * 86_400, description="So long a finished training can go on with more steps."
    )
    log_bytes: int = Field(1 << 20, ge=1024, description="Log kept for a job.")
    keep_ended_checkpoints_seconds: Seconds = Field(
        86_400, description="Checkpoints go so long after the end of their job."
    )
    keep_keys_seconds: Seconds = Field(86_400, description="Life of an idempotency key.")
    keep_orphans_seconds: Seconds = Field(
        86_400, description="Files without a row, and bytes of deleted things, go after this."
    )
    keep_events_seconds: Seconds = Field(
        30 * 86_400, description="Events of ended jobs; states, results and metrics stay."
    )
    keep_messages_seconds: Seconds = Field(
        30 * 86_400, description="Messages to the outside, sent or not."
    )
    keep_tasks_seconds: Seconds = Field(86_400, description="Short tasks that are done.")
    keep_sweeps_seconds: Seconds = Field(30 * 86_400, description="What sweeps have removed.")
    keep_sessions_seconds: Seconds = Field(7 * 86_400, description="Sessions after they ended.")
    keep_workers_seconds: Seconds = Field(7 * 86_400, description="Workers that are gone.")
    webhook_networks: str = Field(
        "", description="Private networks that webhooks may reach, like 10.1.0.0/16,192.168.7.9/32."
    )
    metrics_token: str = Field("", description="Bearer token that may read /metrics.")
    label_producer: str = Field("Atelier", description="Producer named in the label of outputs.")

    @model_validator(mode="after")
    def _coherent(self) -> Settings:
        if self.heartbeat_seconds * 2 > self.lease_seconds:
            raise ValueError("lease_seconds must be at least twice heartbeat_seconds")
        if self.frozen_seconds <= max(self.lease_seconds, self.poll_seconds):
            raise ValueError("frozen_seconds must be greater than lease_seconds and poll_seconds")
        if self.secret_key and (
            len(self.secret_key) < 32 or self.secret_key.lower() in KNOWN_WEAK_SECRETS
        ):
            raise ValueError("secret_key must have at least 32 characters")
        if self.public_url and urlsplit(self.public_url).scheme not in ("http", "https"):
            raise ValueError("public_url must begin with http:// or https://")
        if self.metrics_token and len(self.metrics_token) < 16:
            raise ValueError("metrics_token must have at least 16 characters")
        try:
            networks_of(self.webhook_networks)
        except ValueError as error:
            raise ValueError(f"webhook_networks: {error}") from error
        _check_storage(self.storage, self.s3_endpoint)
        if self.event_streams >= self.web_threads:
            raise ValueError("web_threads must be greater than event_streams")
        return self

    @cached_property
    def database(self) -> str:
        if self.database_url:
            # Both spellings that hosting panels hand out; psycopg 3 is the driver we install.
            for plain in ("postgres://", "postgresql://"):
                if self.database_url.startswith(plain):
                    return "postgresql+psycopg://" + self.database_url.removeprefix(plain)
            return self.database_url
        return f"sqlite:///{self.data.resolve() / 'atelier.db'}"

    @cached_property
    def valkey_socket(self) -> Path:
        """Unix socket of the embedded Valkey; in the temporary directory when the path is long."""
        path = self.data.resolve() / "valkey.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"atelier-{os.getuid()}-{name}" / "valkey.sock"

    @cached_property
    def redis(self) -> str:
        """URL for redis-py."""
        return self.redis_url or f"unix://{self.valkey_socket}"

    @cached_property
    def broker(self) -> str:
        """URL for Celery, which spells Unix sockets differently."""
        if self.redis.startswith("unix://"):
            return "redis+socket://" + self.redis.removeprefix("unix://")
        return self.redis

    @cached_property
    def storage_folder(self) -> Path:
        """Where results lie, if they lie on this machine."""
        own = self.data.resolve() / "storage"
        return Path(self.storage).resolve() if self.storage and not self.on_s3 else own

    @property
    def on_s3(self) -> bool:
        return self.storage.startswith("s3://")

    @cached_property
    def secret(self) -> str:
        """The secret key; made and kept in the data folder when none is set."""
        if self.secret_key:
            return self.secret_key
        path = self.data / "secret_key"
        self.data.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make_secret(path)
        if not (found := path.read_text().strip()):
            raise BadSettings(f"{path} is empty; remove it, and a new key is made")
        return found


def _make_secret(path: Path) -> None:
    """Whole or not at all, whoever is killed meanwhile; of several processes one makes it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # for its owner alone
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)


def _check_storage(storage: str, endpoint: str) -> None:
    place = urlsplit(storage)
    if "://" in storage and (place.scheme != "s3" or not place.hostname):
        raise ValueError("storage must be a folder or s3://BUCKET/PREFIX")
    if place.scheme == "s3" and place.netloc != place.hostname:
        raise ValueError("storage names a bucket, without a password or a port")
    server = urlsplit(endpoint)
    if endpoint and (server.scheme not in ("http", "https") or "@" in server.netloc):
        raise ValueError("s3_endpoint must begin with http:// or https:// and hold no password")


def _value_of(name: str, environment: Mapping[str, str]) -> str | None:
    keys = [PREFIX + name.upper()]
    if name in UNPREFIXED:
        keys.append(UNPREFIXED[name])
    for key in keys:
        if key in environment:
            return environment[key]
        if f"{key}_FILE" in environment:
            path = Path(environment[f"{key}_FILE"])
            try:
                return path.read_text().strip()
            except OSError as error:
                raise BadSettings(f"{key}_FILE: {error.strerror}: {path}") from error
    return None


def read_settings(environment: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Settings from the environment; `overrides` (from the command line) go first.

    Raises BadSettings with one line for each setting that is wrong, and for unknown ATELIER_ names.
    """
    environment = os.environ if environment is None else environment
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {f"{name}_FILE" for name in known} | {"ATELIER_URL", "ATELIER_TOKEN"}
    strange = sorted(key for key in environment if key.startswith(PREFIX) and key not in known)
    if strange:
        raise BadSettings("unknown setting: " + ", ".join(strange))
    values: dict[str, object] = {}
    for name in Settings.model_fields:
        value = _value_of(name, environment)
        if value is not None:
            values[name] = value
    values.update({key: value for key, value in overrides.items() if value is not None})
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        lines = [
            f"{PREFIX}{'.'.join(map(str, e['loc'])).upper() or 'SETTINGS'}: {e['msg']}"
            for e in error.errors(include_url=False, include_input=False)
        ]
        raise BadSettings("; ".join(lines)) from error


def child_environment(settings: Settings, **extra: str) -> dict[str, str]:
    """Environment for a process of ours that must see the same settings."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    for name in UNPREFIXED.values():
        environment.pop(name, None)
        environment.pop(f"{name}_FILE", None)  # it would stand in for one that is empty here
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        text = str(int(value)) if isinstance(value, bool) else str(value)
        if text:
            environment[PREFIX + name.upper()] = text
    environment[PREFIX + "DATA"] = str(settings.data.resolve())
    return environment | extra


def bare_environment(**extra: str) -> dict[str, str]:
    """Environment for the sandboxed processes: no URL, no secret, nothing of ours."""
    keep = ("PATH", "LANG", "LC_ALL", "TMPDIR", "CUDA_VISIBLE_DEVICES", "VIRTUAL_ENV", "PYTHONPATH")
    found = {key: os.environ[key] for key in keep if key in os.environ}
    found |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    # cuBLAS sums in one order only with a workspace of its own for each stream (NVIDIA's words)
    return found | {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"} | extra


def failpoint_setting() -> str:
    """FAILPOINT, read by shared.failpoints; set by fault tests only."""
    return os.environ.get("FAILPOINT", "")
