"""schemathesis over the whole OpenAPI document, against a live server; used by a test and by a bench."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from dataclasses import dataclass, field

import httpx
from schemathesis import Config, openapi
from schemathesis.engine import events, from_schema

from tests.webhook_rows import add_webhook

ID = re.compile("[0-9A-Za-z_.-]{1,64}")
RESULTS = 40
SEED = 20_261_125
# Whether a file has the part that was asked for, its schema cannot say.
ACCEPTED = ["2xx", "3xx", "401", "403", "404", "409", "416", "429"]
# What a family's rules and a model's own narrower schema refuse cannot be said in JSON Schema.
RULES = ["2xx", "404", "409", "422"]
# 412 is what tus answers without its version; 413 depends on the settings.
NO_TUS = ["400", "401", "403", "404", "412", "413", "422"]
# tus: a piece is bytes of a media type that schemathesis cannot make, at an offset that only the state knows
LEFT_OUT = {"PATCH /uploads/{upload_id}": "uploads_receive"}


@dataclass
class Findings:
    """What a run did: cases by operation and status, and everything that was wrong."""

    statuses: dict[str, Counter] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    checks: int = 0

    @property
    def cases(self) -> int:
        return sum(sum(counts.values()) for counts in self.statuses.values())

    def table(self) -> str:
        lines = []
        for label, counts in sorted(self.statuses.items()):
            told = ", ".join(f"{status}: {count}" for status, count in sorted(counts.items()))
            lines.append(f"{label:44} {told}")
        return "\n".join(lines)


def check(url: str, token: str, *, examples: int, stateful: bool = False) -> Findings:
    """Runs every phase with this user's token; the same seed finds the same."""
    headers = {"Authorization": f"Bearer {token}"}
    config = _config(headers, examples, stateful)
    # over HTTP: in 4.32 the transport that calls an application fails on its own probes without a token
    schema = openapi.from_url(f"{url}/api/v1/openapi.json", config=config, headers=headers)
    with httpx.Client(base_url=f"{url}/api/v1", headers=headers) as client:
        tokens, jobs, datasets, models, families, hooks = (
            client.get(path).json()["items"]
            for path in ("/me/tokens", "/jobs", "/datasets", "/models", "/families", "/webhooks")
        )
        begun = client.post("/uploads", headers={"Tus-Resumable": "1.0.0", "Upload-Length": "9"})
    (made,) = [job for job in jobs if job["result"] and job["kind"] == "generate"]
    ready = [one["id"] for one in datasets if one["state"] == "ready"]
    upload = begun.json()["id"]
    _spare(schema, {made["id"], upload, *ready, *(one["id"] for one in [*tokens, *models, *hooks])})
    real = {
        "artifact_id": [one["id"] for one in made["result"]["artifacts"]],
        "dataset_id": ready,
        "job_id": [made["id"]],
        "model_id": [one["id"] for one in models],
        "upload_id": [upload],
        "webhook_id": [one["id"] for one in hooks],
        "name": [one["name"] for one in families],
    }
    _offer(schema, real)
    found = Findings()
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            _note(found, event.recorder)
        elif isinstance(event, events.NonFatalError):
            found.errors.append(f"{event.label}: {event.info.format()}")
        elif isinstance(event, events.FatalError):
            found.errors.append(str(event.exception))
    return found


def stock(person, work) -> None:
    """Some of every kind, so that calls have something to find; `work` is tests.web.conftest.Work."""
    dataset_id = work.dataset(person)
    work.model(person)
    job_id = work.generation(person)["id"]
    (job,) = [row for row in work.claim() if row.id == job_id]
    work.succeed(job, tuple(b"a poem %d" % n for n in range(RESULTS)))
    work.training(person, name="queued", dataset_id=dataset_id)
    for dataset in person.get("/datasets").json["items"]:
        work.studio.storage.put_bytes(f"datasets/{dataset['id']}/data.bin", b"png")
        work.preview(dataset["id"])
    add_webhook(work.studio.db, person.user.id)


def hurry(studio) -> None:
    """Long polls are held for a moment only."""
    wait = studio.feed.wait
    studio.feed.wait = lambda slot, job_id, version, seconds: wait(
        slot, job_id, version, min(seconds, 0.05)
    )


def _config(headers: dict[str, str], examples: int, stateful: bool) -> Config:
    submit = {"checks": {"positive_data_acceptance": {"expected-statuses": RULES}}}
    hooks = {"checks": {"positive_data_acceptance": {"expected-statuses": [*RULES, "429"]}}}
    begin = {
        "checks": {
            "positive_data_acceptance": {"expected-statuses": [*RULES, "413"]},
            "negative_data_rejection": {"expected-statuses": NO_TUS},
            "missing_required_header": {"expected-statuses": NO_TUS},
        }
    }
    return Config.from_dict(
        {
            "seed": SEED,
            "headers": headers,
            # _spare leaves little where all that is here is needed
            "suppress-health-check": ["filter_too_much"],
            # on a busy machine an answer takes its time
            "request-timeout": 60,
            "continue-on-failure": True,
            "generation": {"max-examples": examples, "deterministic": True, "database": "none"},
            "checks": {"positive_data_acceptance": {"expected-statuses": ACCEPTED}},
            "phases": {"stateful": {"enabled": stateful}},
            "operations": [
                {"include-operation-id": "jobs_submit", **submit},
                # steps must be more than those that were done
                {"include-operation-id": "checkpoints_go_on", **submit},
                # a key that was used with another body, like those of the two above
                {"include-operation-id": "checkpoints_make_model", **submit},
                {"include-operation-id": "jobs_retry", **submit},
                # the scope admin is for administrators
                {"include-operation-id": "me_token_create", **submit},
                # an upload that is not here is a wrong field
                {"include-operation-id": "datasets_add", **submit},
                # a host that is not known here or may not be reached; 120 an hour
                {"include-operation-id": "webhooks_create", **hooks},
                {"include-operation-id": "webhooks_change", **hooks},
                {"include-operation-id": "uploads_create", **begin},
                *({"include-operation-id": name, "enabled": False} for name in LEFT_OUT.values()),
            ],
        }
    )


def _spare(schema, needed: set[str]) -> None:
    """Deletes nothing that the rest of the run needs, its own token first."""

    @schema.hook
    def filter_case(context, case):
        named = {**(case.path_parameters or {}), **(case.query or {})}
        return case.method != "DELETE" or not needed & set(map(str, named.values()))


def _offer(schema, real: dict[str, list[str]]) -> None:
    """Who only looks mostly gets an id that is one: by chance, or among an answer's many, few are found."""

    @schema.hook
    def map_path_parameters(context, path_parameters):
        given = dict(path_parameters or {})
        if context.operation.method.upper() != "GET":
            return given
        for name in real.keys() & given.keys():
            number = zlib.crc32(str(given[name]).encode("utf-8", "replace"))
            if number % 8 and ID.fullmatch(str(given[name])):
                given[name] = real[name][number % len(real[name])]
                if isinstance(given.get("n"), int):
                    given["n"] = 0
        return given


def _note(found: Findings, recorder) -> None:
    for case_id, interaction in recorder.interactions.items():
        # it also tries methods that are not told
        node = recorder.cases.get(case_id)
        label = node.value.operation.label if node else recorder.label
        if not label.startswith(f"{interaction.request.method} "):
            label = "other methods"
        status = interaction.response.status_code if interaction.response else 0
        found.statuses.setdefault(label, Counter())[status] += 1
    for case_id, checks in recorder.checks.items():
        for one in checks:
            found.checks += 1
            if one.failure_info is not None:
                failure = one.failure_info.failure
                label = recorder.cases[case_id].value.operation.label
                key = f"{label}: {one.name}: {failure.title}"
                found.failures.setdefault(key, f"{failure.message}\n{one.failure_info.code_sample}")
