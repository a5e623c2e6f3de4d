"""The pages of webhooks: made, changed, tried and deleted by forms. Nothing is sent here: there is no worker."""

from __future__ import annotations

import html
import re

import pytest

from shared import webhooks as messages
from shared.models import OutboxMessage, Webhook
from tests.receiver import LOOPBACK
from tests.web.browsing import Browser, Page
from tests.webhook_rows import add_webhook
from web import throttle
from web.services import webhooks

INDEX = "/account/webhooks"
URL = "http://127.0.0.1:8765/hook?key=tell-nobody"
EVENTS = ["job.succeeded", "job.failed", "job.cancelled"]
SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{43}=")


@pytest.fixture(autouse=True)
def _loopback(limits):
    limits(webhook_networks=LOOPBACK)


@pytest.fixture
def hook(studio, alice):
    """The id of Alice's webhook, which was told a little already."""
    return add_webhook(studio.db, alice.user.id, name="Lab")


def make(browser, **form):
    return browser.post(INDEX, {"url": URL, "events": EVENTS, **form})


def row_of(studio, webhook_id) -> Webhook | None:
    with studio.db.reading() as session:
        return session.get(Webhook, webhook_id)


def deliveries(studio, webhook_id) -> list[OutboxMessage]:
    with studio.db.reading() as session:
        found = session.query(OutboxMessage).filter_by(webhook_id=webhook_id)
        return found.order_by(OutboxMessage.id.desc()).all()


def secrets(*answers) -> set[str]:
    return set(SECRET.findall(html.unescape("".join(one.text for one in answers))))


def actions(page: Page) -> set[str | None]:
    return {one.get("action") for one in page.all("form")}


def checked(page: Page) -> set[str | None]:
    return {one["value"] for one in page.all("input", name="events") if "checked" in one}


# ---- one is made --------------------------------------------------------------------------------


def test_the_account_leads_to_the_webhooks(mine):
    assert mine.page("/account").all("a", href=INDEX)
    assert mine.page(INDEX).all("a", href="/account")


def test_the_form_begins_with_all_events(mine):
    page = mine.page(INDEX)
    assert checked(page) == set(EVENTS)
    assert "No webhooks yet" in page.words


def test_one_is_made_and_its_secret_is_shown_once(mine, studio):
    answer = make(mine, name="Lab")
    assert answer.status_code == 201
    (secret,) = secrets(answer)
    (row,) = webhooks_of(studio)
    assert (row.name, row.url, row.secret) == ("Lab", URL, secret)
    shown = mine.page(f"{INDEX}/{row.id}")
    assert shown.field("url")["value"] == URL
    listed = mine.page(INDEX)
    assert listed.all("a", href=f"{INDEX}/{row.id}")
    assert "127.0.0.1:8765" in listed.words and "tell-nobody" not in listed.text
    assert not secrets(shown, listed)


def webhooks_of(studio) -> list[Webhook]:
    with studio.db.reading() as session:
        return session.query(Webhook).all()


def test_one_without_a_name_is_called_by_its_host(mine, studio):
    assert make(mine).status_code == 201
    assert [row.name for row in webhooks_of(studio)] == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"url": "ftp://example.com/x"}, "url"),
        ({"url": "http://192.0.2.1/x"}, "url"),
        ({"url": "http://127.0.0.1:22/x"}, "url"),
        ({"url": ""}, "url"),
        ({"name": "x" * 201}, "name"),
        ({"events": []}, "events"),
        ({"events": ["job.born"]}, "events"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_what_was_typed_stays(mine, studio, form, field):
    typed = {"url": URL, "name": "Lab", "events": ["job.failed"], **form}
    answer = mine.post(INDEX, typed)
    page = Page(answer.text)
    assert (answer.status_code, list(page.errors)) == (422, [field])
    assert page.field("url")["value"] == typed["url"]
    assert page.field("name")["value"] == typed["name"]
    assert checked(page) == set(typed["events"]) & set(EVENTS)
    marked = {one["name"] for one in page.all("input", **{"aria-invalid": "true"})}
    assert marked == {field}
    assert webhooks_of(studio) == []


def test_too_many_are_refused_with_the_reason(mine, studio, alice, monkeypatch):
    monkeypatch.setattr(webhooks, "MOST", 1)
    add_webhook(studio.db, alice.user.id)
    answer = make(mine, name="another")
    assert answer.status_code == 409
    assert "You have 1 webhooks" in answer.text
    assert Page(answer.text).field("name")["value"] == "another"


def test_trying_without_end_is_refused(mine, hook, monkeypatch):
    limit = throttle.RateLimitItemPerHour(1)
    monkeypatch.setattr(throttle, "WEBHOOKS", limit)
    assert make(mine).status_code == 201
    answer = make(mine, name="another")
    assert answer.status_code == 429
    assert "too often" in answer.text
    assert Page(answer.text).field("name")["value"] == "another"
    assert mine.post(f"{INDEX}/{hook}/test").status_code == 303
    assert "too often" in mine.says()


# ---- one is changed -----------------------------------------------------------------------------


def test_one_is_changed(mine, studio, hook):
    path = f"{INDEX}/{hook}"
    page = mine.page(path)
    assert (page.field("name")["value"], checked(page)) == ("Lab", {"job.failed", "job.succeeded"})
    form = {"url": URL, "name": "Office", "events": ["job.cancelled"]}
    answer = mine.post(path, form)
    assert (answer.status_code, answer.headers["Location"]) == (303, path)
    row = row_of(studio, hook)
    assert (row.url, row.name, row.events) == (URL, "Office", "job.cancelled")


@pytest.mark.parametrize(
    ("form", "field"), [({"url": "nonsense"}, "url"), ({"name": " "}, "name"), ({}, "events")]
)
def test_a_wrong_change_changes_nothing_and_stays_typed(mine, studio, hook, form, field):
    typed = {"url": URL, "name": "Office", **form}
    typed |= {} if field == "events" else {"events": ["job.failed"]}
    answer = mine.post(f"{INDEX}/{hook}", typed)
    page = Page(answer.text)
    assert (answer.status_code, list(page.errors)) == (422, [field])
    assert page.field("url")["value"] == typed["url"]
    assert page.field("name")["value"] == typed["name"]
    assert row_of(studio, hook).name == "Lab"


def test_one_is_switched_off_and_on(mine, studio, hook):
    path = f"{INDEX}/{hook}"
    assert mine.post(f"{path}/off").status_code == 303
    assert "told nothing more" in mine.says()
    assert not row_of(studio, hook).enabled
    assert {message.state for message in deliveries(studio, hook)} == {"sent", "failed"}
    page = mine.page(path)
    assert not page.all("form", action=f"{path}/test")
    assert "/again" not in page.text
    assert "The webhook was switched off." in page.words
    assert mine.post(f"{path}/on").status_code == 303
    assert row_of(studio, hook).enabled
    assert mine.page(path).all("form", action=f"{path}/test")


def test_a_new_secret_is_shown_once_and_the_old_one_is_said_to_sign(mine, studio, hook):
    old, path = row_of(studio, hook).secret, f"{INDEX}/{hook}"
    assert "signs until" not in mine.page(path).words
    answer = mine.post(f"{path}/secret")
    assert answer.status_code == 201
    (secret,) = secrets(answer)
    row = row_of(studio, hook)
    assert (row.secret, row.old_secret) == (secret, old) and secret != old
    # it has no address that could be asked for again
    assert "data-live-poll" not in answer.text
    page = mine.page(path)
    assert "signs until" in page.words
    assert not secrets(page)


def test_one_is_deleted_with_what_it_was_told(mine, studio, hook):
    answer = mine.post(f"{INDEX}/{hook}/delete")
    assert (answer.status_code, answer.headers["Location"]) == (303, INDEX)
    assert mine.get(f"{INDEX}/{hook}").status_code == 404
    assert row_of(studio, hook) is None and deliveries(studio, hook) == []


@pytest.mark.parametrize("verb", ["", "/on", "/off", "/secret", "/test", "/delete"])
def test_somebody_elses_is_not_there(theirs, studio, hook, verb):
    form = {"url": URL, "name": "stolen", "events": EVENTS}
    assert theirs.post(f"{INDEX}/{hook}{verb}", form).status_code == 404
    (sent, *_) = [one for one in deliveries(studio, hook) if one.state == "sent"]
    again = f"{INDEX}/{hook}/deliveries/{sent.id}/again"
    assert theirs.post(again).status_code == 404
    assert theirs.get(f"{INDEX}/{hook}").status_code == 404
    assert "Lab" not in theirs.page(INDEX).words
    row = row_of(studio, hook)
    assert (row.name, row.enabled, row.old_secret) == ("Lab", True, "")
    assert len(deliveries(studio, hook)) == 4


# ---- what it was told ---------------------------------------------------------------------------


def test_a_test_is_owed_and_listed(mine, studio):
    make(mine)
    (row,) = webhooks_of(studio)
    path = f"{INDEX}/{row.id}"
    assert "Nothing yet" in mine.page(path).words
    assert mine.post(f"{path}/test").status_code == 303
    assert "It is on its way." in mine.says()
    page = mine.page(path)
    assert "next attempt in a moment" in page.words
    # what comes of it shows by itself
    assert page.all("i", **{"data-live-poll": "3"})
    assert [message.topic for message in deliveries(studio, row.id)] == ["webhook.test"]


def test_nothing_is_sent_while_it_is_off(mine, studio, hook):
    mine.post(f"{INDEX}/{hook}/off")
    message = deliveries(studio, hook)[0]
    for verb in ("test", f"deliveries/{message.id}/again"):
        assert mine.post(f"{INDEX}/{hook}/{verb}").status_code == 303
        assert "This webhook is switched off." in mine.says()


def test_what_it_was_told_is_listed_in_words(mine, work, studio, alice):
    job = work.training(alice)["id"]
    hook = add_webhook(studio.db, alice.user.id, job)
    page = mine.page(f"{INDEX}/{hook}")
    for words in (
        "job succeeded",
        "job failed",
        "arrived",
        "given up",
        "tries again",
        "It answered 204.",
        "It answered 503.",
        "It did not answer in time.",
        "Nothing has arrived since",
        f"Job {job[-6:]}",
    ):
        assert words in page.words, words
    assert page.all("a", href=f"/jobs/{job}")
    # nothing comes of it for two hours
    assert not page.all("i", **{"data-live-poll": "3"})


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        ("redirect", 302, "It answered 302, which leads elsewhere"),
        ("refused", None, "may not reach"),
        ("unresolved", None, "host was not found"),
        ("tls", None, "certificate was not accepted"),
        ("connection", None, "could not be connected to"),
    ],
)
def test_each_error_has_its_words(mine, studio, hook, error, status, words):
    with studio.db.writing() as session:
        session.query(OutboxMessage).update({"error": error, "status": status})
    assert words in mine.page(f"{INDEX}/{hook}").words


@pytest.mark.parametrize(("why", "words"), [("gone", "answered 410"), ("failing", "for days")])
def test_one_that_we_stopped_says_why(mine, studio, hook, why, words):
    with studio.db.writing() as session:
        messages.stop(session, session.get(Webhook, hook), why)
    for path in (INDEX, f"{INDEX}/{hook}"):
        page = mine.page(path)
        assert "stopped" in page.words and words in page.words


def test_a_message_is_sent_again(mine, studio, hook):
    path = f"{INDEX}/{hook}"
    pending, failed, *_ = deliveries(studio, hook)
    forms = actions(mine.page(path))
    again = f"{path}/deliveries/{failed.id}/again"
    assert again in forms
    assert f"{path}/deliveries/{pending.id}/again" not in forms
    assert mine.post(again).status_code == 303
    assert "It is on its way." in mine.says()
    row = next(one for one in deliveries(studio, hook) if one.id == failed.id)
    assert (row.state, row.attempts) == ("pending", 0)
    assert mine.post(again).status_code == 303
    assert "This message is still being sent." in mine.says()
    assert mine.post(f"{path}/deliveries/nonsense/again").status_code == 404


def test_deliveries_are_paged(mine, studio, hook, monkeypatch):
    monkeypatch.setattr("web.views.webhooks.ROWS", "3")
    path = f"{INDEX}/{hook}"
    first = mine.page(path)
    (older,) = first.all("a", rel="next")
    assert "test" not in events(first)
    second = mine.page(older["href"])
    assert events(second) == ["test"]
    assert not second.all("a", rel="next")
    assert second.all("a", href=path)
    assert mine.get(f"{path}?after={'x' * 70}").status_code == 422


def events(page: Page) -> list[str]:
    return re.findall(r'<td [^>]*class="name"[^>]*>([^<]*)', page.text)


def test_the_audit_says_it_in_words(app, studio, person, mine):
    make(mine, name="Lab")
    (row,) = webhooks_of(studio)
    mine.post(f"{INDEX}/{row.id}/secret")
    admin = Browser(app, person("root", admin=True).user)
    page = admin.page("/admin/audit")
    for words in ("webhook made", "webhook secret made", "webhook Lab", "to http://127.0.0.1:8765"):
        assert words in page.words, words
    assert "tell-nobody" not in page.text
    admin.get("/admin/audit?language=zh_Hans_CN")
    page = admin.page("/admin/audit")
    for words in ("创建 Webhook", "更换 Webhook 密钥", "Webhook Lab", "发往 http://127.0.0.1:8765"):
        assert words in page.words, words
