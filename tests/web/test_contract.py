"""The OpenAPI document is true: schemathesis finds no answer that it does not foresee."""

from __future__ import annotations

import pytest

from tests import contract
from tests.web.live import LiveServer


@pytest.fixture
def live(app):
    server = LiveServer(app)
    server.start()
    yield server
    server.stop()


# few examples beside the systematic cases; `python -m tests.bench schemathesis` looks for more
EXAMPLES = 4


@pytest.mark.no_cover  # tracing makes it several times slower
def test_the_document_is_true(live, alice, work, studio):
    contract.hurry(studio)
    contract.stock(alice, work)
    found = contract.check(live.url, alice.token, examples=EXAMPLES)
    failures = "\n\n".join(f"{name}\n{text}" for name, text in found.failures.items())
    assert not found.failures, failures
    assert not found.errors, "\n".join(found.errors)
    # the run has met more than refusals: its token held, and every call was tried
    paths = alice.get("/openapi.json").json["paths"]
    told = {f"{method.upper()} {path}" for path, calls in paths.items() for method in calls}
    # all but the document itself, which it has read already
    assert set(found.statuses) == told - {"GET /openapi.json", *contract.LEFT_OUT} | {
        "other methods"
    }
    unmet = {label for label, counts in found.statuses.items() if min(counts) >= 400}
    unmet = {label for label in unmet if label.startswith("GET ")}
    # it asks as one who is no administrator, and its results are texts
    refused = {f"GET /{noun}" for noun in ("audit", "invitations", "storage", "users")}
    refused |= {"GET /users/{user_id}", "GET /workers", "GET /workers/jobs"}
    refused |= {"GET /artifacts/{artifact_id}/thumbnail"}
    assert unmet == refused, found.table()
