"""The way to Celery: names, the configured app, and wake-ups that never make their sender wait.

A message says "there may be work"; SQL says which. Losing them all costs a poll interval.
"""

from __future__ import annotations

import logging
import os
import threading
from queue import Empty, Full, Queue
from typing import Any

from celery import Celery
from kombu import Connection, Exchange, Producer
from kombu import Queue as CeleryQueue
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.config import Settings

WAKE_TASK = "worker.wake"
RUN_DUE_TASK = "worker.run_due"
WAKE_LANES = ("interactive", "batch", "train", "cpu")
TASKS_QUEUE = "tasks.cpu"

log = logging.getLogger(__name__)

# One wake-up of a lane lies in Redis at a time; the key goes when a worker is woken, or by itself.
WAKE_KEY_SECONDS = 10
SENDER_TIMEOUT = 1.0
WAITING_WAKEUPS = 100

TRANSPORT_OPTIONS: dict[str, Any] = {
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 25,
    # a wake-up that a worker took and lost comes back fast
    "visibility_timeout": 300,
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
}

CELERY_SETTINGS: dict[str, Any] = {
    "task_serializer": "json",
    "result_serializer": "json",
    "accept_content": ["json"],
    "result_accept_content": ["json"],
    # a broker that sends a message again must not start work again (DESIGN.md)
    "task_acks_late": False,
    "task_reject_on_worker_lost": False,
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": True,
    "task_ignore_result": True,
    "task_store_errors_even_if_ignored": False,
    # whoever reaches Redis could stop the workers otherwise
    "worker_enable_remote_control": False,
    "worker_send_task_events": False,
    "task_send_sent_event": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    # a Redis that is full or read-only answers with errors; the worker must live on and poll SQL
    "broker_channel_error_retry": True,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "task_time_limit": None,
    "task_soft_time_limit": None,
    "worker_max_tasks_per_child": None,
    "worker_max_memory_per_child": None,
    "worker_soft_shutdown_timeout": 45,
    "worker_hijack_root_logger": False,
    "worker_redirect_stdouts": False,
    "task_default_queue": TASKS_QUEUE,
    # a typing mistake in a queue's name must fail
    "task_create_missing_queues": False,
    "task_protocol": 2,
    "enable_utc": True,
}


def wake_queue(lane: str) -> str:
    return f"wake.{lane}"


def wake_key(settings: Settings, lane: str) -> str:
    return f"{settings.redis_prefix}wake:{lane}"


def celery_app(settings: Settings) -> Celery:
    """The configured Celery app; it has no tasks until worker/tasks.py adds them."""
    app = Celery("atelier", broker=settings.broker, set_as_current=False)
    names = [*map(wake_queue, WAKE_LANES), TASKS_QUEUE]
    app.conf.update(
        CELERY_SETTINGS,
        broker_transport_options=TRANSPORT_OPTIONS | {"global_keyprefix": settings.redis_prefix},
        task_queues=[
            CeleryQueue(name, Exchange(name, type="direct"), routing_key=name) for name in names
        ],
    )
    return app


def redis_client(settings: Settings, timeout: float = SENDER_TIMEOUT) -> Redis:
    """A client that gives up soon and tries once."""
    return Redis.from_url(
        settings.redis,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
    )


class Wakeups:
    """Sends wake-ups from its own thread; what does not fit into its short queue is dropped."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._pid = 0
        self._waiting: Queue[str | None] = Queue(WAITING_WAKEUPS)

    def wake(self, lane: str) -> None:
        """Tells the device workers that a lane may have work. Returns at once, never raises."""
        self._put(lane)

    def tasks(self) -> None:
        """Tells the cpu worker that a short task may be due."""
        self._put("")

    def close(self, timeout: float = 2.0) -> None:
        """Sends what waits, if Redis is quick about it, and ends the thread."""
        if self._pid != os.getpid():
            return
        try:
            self._waiting.put(None, timeout=timeout)
        except Full:
            return
        self._thread.join(timeout)
        self._pid = 0

    def _put(self, lane: str) -> None:
        self._start()
        try:
            self._waiting.put_nowait(lane)
        except Full:
            log.debug("wake-up dropped: Redis does not keep up")

    def _start(self) -> None:
        # A thread does not survive a fork, so every process starts its own with its first wake-up.
        with self._lock:
            if self._pid == os.getpid():
                return
            self._pid = os.getpid()
            self._waiting = Queue(WAITING_WAKEUPS)
            sender = _Sender(self._settings, self._waiting)
            self._thread = threading.Thread(target=sender.run, name="wakeups", daemon=True)
            self._thread.start()


class _Sender:
    """The thread: takes lanes from the queue and tells Redis once for each lane."""

    def __init__(self, settings: Settings, waiting: Queue[str | None]) -> None:
        self._settings = settings
        self._waiting = waiting
        self._app = celery_app(settings)
        self._redis = redis_client(settings)
        self._connection: Connection | None = None
        self._producer: Producer | None = None

    def run(self) -> None:
        while True:
            lanes, last = self._take()
            for lane in lanes:
                try:
                    self._send(lane)
                except Exception as error:
                    # Workers poll SQL; a lost wake-up is a second of delay.
                    log.warning("wake-up not sent: %s", error)
                    self._disconnect()
            if last:
                self._disconnect()
                return

    def _take(self) -> tuple[list[str], bool]:
        """Everything that waits, each lane once, in order; and whether to end then."""
        lanes = [self._waiting.get()]
        try:
            while lanes[-1] is not None:
                lanes.append(self._waiting.get_nowait())
        except Empty:
            pass
        return list(dict.fromkeys(lane for lane in lanes if lane is not None)), lanes[-1] is None

    def _send(self, lane: str) -> None:
        key = wake_key(self._settings, lane or TASKS_QUEUE)
        if not self._redis.set(key, "1", nx=True, ex=WAKE_KEY_SECONDS):
            return
        task, queue = (WAKE_TASK, wake_queue(lane)) if lane else (RUN_DUE_TASK, TASKS_QUEUE)
        self._app.send_task(
            task,
            args=[lane] if lane else [],
            queue=queue,
            producer=self._connected(),
            retry=False,
            ignore_result=True,
        )

    def _connected(self) -> Producer:
        if self._producer is None:
            options = TRANSPORT_OPTIONS | {
                "global_keyprefix": self._settings.redis_prefix,
                "socket_timeout": SENDER_TIMEOUT,
                "socket_connect_timeout": SENDER_TIMEOUT,
                "max_retries": 1,
            }
            self._connection = Connection(self._settings.broker, transport_options=options)
            self._producer = self._app.amqp.Producer(self._connection, auto_declare=False)
        return self._producer

    def _disconnect(self) -> None:
        if self._connection is not None:
            try:
                self._connection.release()
            except Exception as error:
                log.debug("closing the connection to Redis: %s", error)
        self._connection = self._producer = None
