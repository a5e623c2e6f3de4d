"""/docs: readable without an account, without scripts, and about every call."""

from __future__ import annotations

from tests.web.conftest import API


def test_the_page_tells_every_call_and_shape(mine, alice, toy):
    page = mine.get("/docs")
    assert page.status_code == 200
    described = alice.get("/openapi.json").json
    for path, calls in described["paths"].items():
        for method in calls:
            assert f"{method.upper()} {path}<" in page.text
    for name in described["components"]["schemas"]:
        assert f'id="shape-{name}"' in page.text
    for code in ("too_expensive", "in_use", "csrf", "too_many_streams"):
        assert f'<td class="mono">{code}</td>' in page.text


def test_it_gives_examples_that_can_be_pasted(mine, toy):
    text = mine.get("/docs").text
    assert "atelier job submit train" in text
    assert "atelier.jobs.submit(" in text
    assert "-H &#39;Content-Type: application/json&#39;" in text


def test_strangers_read_it_without_this_servers_families(client, toy):
    page = client.get("/docs", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert "GET /jobs/{job_id}" in page.text and "Toy" not in page.text
    assert client.get(f"{API}/docs").headers["Location"] == "/docs"


def test_every_link_inside_leads_somewhere(mine, toy):
    import re

    text = mine.get("/docs").text
    targets = set(re.findall(r'href="#([^"]+)"', text))
    assert len(targets) > 50
    assert targets <= set(re.findall(r'id="([^"]+)"', text))
    assert "http://" not in text.replace("http://localhost", "")
