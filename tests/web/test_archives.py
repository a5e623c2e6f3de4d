"""Archives: what is in them, that they are the same each time, and that they are never held in memory."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import zipfile
import zlib

import pytest
from stream_zip import ZipIntegrityError

from shared.models import Artifact, Dataset, DatasetItem, Job, Model
from web.services import archives, zips


def opened(answer):
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.data))
    assert archive.testzip() is None
    return archive


def manifest(archive):
    return json.loads(archive.read("manifest.json"))


@pytest.fixture
def finished(alice, work):
    """A generation that made two texts."""
    job_id = work.generation(alice, params={"count": 2}, name="two / texts")["id"]
    (job,) = [row for row in work.claim() if row.id == job_id]
    work.succeed(job, (b"one", b"two" * 100_000))
    return job_id


# ---- results


def test_the_archive_of_a_job_holds_its_results_and_says_where_they_come_from(alice, finished):
    answer = alice.get(f"/jobs/{finished}/archive")
    assert int(answer.headers["Content-Length"]) == len(answer.data)
    assert answer.headers["Content-Disposition"].endswith(f"filename=two_texts-{finished}.zip")
    archive = opened(answer)
    assert archive.namelist() == ["manifest.json", "0.txt", "1.txt"]
    told = manifest(archive)
    job = alice.get(f"/jobs/{finished}").json
    assert told["job"]["params"] == job["params"]
    assert told["job"]["seed"] == job["seed"]
    assert told["model"] == {"id": job["model_id"], "sha256": "3" * 64}
    assert told["lineage"]["dataset"]["sha256"] == "d" * 64
    for entry, artifact in zip(told["artifacts"], job["result"]["artifacts"], strict=True):
        assert entry == {"file": artifact["name"], **artifact}
        assert hashlib.sha256(archive.read(entry["file"])).hexdigest() == artifact["sha256"]
    assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
    assert {info.date_time[:3] for info in archive.infolist()} == {(1980, 1, 1)}


def test_the_same_job_gives_the_same_bytes_under_one_etag(alice, finished):
    first, second = (alice.get(f"/jobs/{finished}/archive") for _ in range(2))
    assert first.data == second.data
    seen = {"If-None-Match": first.headers["ETag"]}
    assert alice.get(f"/jobs/{finished}/archive", headers=seen).status_code == 304


def test_a_broken_download_goes_on_where_it_ended(alice, finished):
    whole = alice.get(f"/jobs/{finished}/archive")
    half = {"Range": "bytes=1000-", "If-Range": whole.headers["ETag"]}
    rest = alice.get(f"/jobs/{finished}/archive", headers=half)
    assert (rest.status_code, rest.data) == (206, whole.data[1000:])
    other = {"Range": "bytes=1000-", "If-Range": '"something else"'}
    assert alice.get(f"/jobs/{finished}/archive", headers=other).data == whole.data


def test_head_tells_the_size_and_opens_nothing(alice, finished, monkeypatch):
    whole = alice.get(f"/jobs/{finished}/archive")
    monkeypatch.setattr(archives, "zipped", None)
    head = alice.head(f"/jobs/{finished}/archive")
    assert (head.status_code, head.data) == (200, b"")
    for name in ("Content-Length", "ETag", "Content-Type", "Accept-Ranges"):
        assert head.headers[name] == whole.headers[name]


def test_a_job_without_results_has_an_archive_that_says_so(alice, work):
    job_id = work.training(alice)["id"]
    archive = opened(alice.get(f"/jobs/{job_id}/archive"))
    assert archive.namelist() == ["manifest.json"]
    assert manifest(archive)["artifacts"] == []
    assert manifest(archive)["job"]["state"] == "queued"


def test_names_are_safe_and_unique(alice, finished, studio):
    evil = ["../../etc/passwd", "MANIFEST.json"]
    with studio.db.writing() as session:
        job = session.get_one(Job, finished)
        rows = session.query(Artifact).filter_by(job_id=job.id).order_by(Artifact.index)
        for row, name in zip(rows, evil, strict=True):
            row.name = name
    archive = opened(alice.get(f"/jobs/{finished}/archive"))
    assert archive.namelist() == ["manifest.json", "etc/passwd", "MANIFEST-2.json"]


def test_previews_and_deleted_results_are_left_out(alice, finished, studio):
    kept, gone = alice.get(f"/jobs/{finished}").json["result"]["artifacts"]
    assert alice.delete(f"/artifacts/{gone['id']}").status_code == 204
    archive = opened(alice.get(f"/jobs/{finished}/archive"))
    assert archive.namelist() == ["manifest.json", kept["name"]]


def test_chosen_results_of_several_jobs_come_in_a_folder_each(alice, work):
    ids = [work.artifact(alice, data) for data in (b"one", b"two")]
    answer = alice.post("/artifacts/archive", json={"ids": [*ids, ids[0]]})
    archive = opened(answer)
    told = manifest(archive)
    assert [entry["id"] for entry in told["artifacts"]] == ids
    assert [archive.read(entry["file"]) for entry in told["artifacts"]] == [b"one", b"two"]
    assert {entry["file"].split("/")[0] for entry in told["artifacts"]} == {
        about["job"]["id"] for about in told["jobs"]
    }


def test_a_choice_is_refused_when_one_of_it_is_a_strangers(alice, bob, work):
    mine, theirs = work.artifact(alice), work.artifact(bob)
    assert alice.post("/artifacts/archive", json={"ids": [mine, theirs]}).status_code == 404
    for wrong in ([], ["x"] * 1001, "x", None):
        assert alice.post("/artifacts/archive", json={"ids": wrong}).status_code == 422


def test_a_file_that_is_gone_is_said_before_anything_is_sent(alice, finished, studio):
    first = alice.get(f"/jobs/{finished}").json["result"]["artifacts"][0]
    with studio.db.reading() as session:
        studio.storage.delete(session.get_one(Artifact, first["id"]).location)
    answer = alice.get(f"/jobs/{finished}/archive")
    assert answer.status_code == 404
    assert first["id"] in answer.json["detail"]


@pytest.mark.parametrize("what", ["jobs/{job}", "datasets/{dataset}", "models/{model}"])
def test_strangers_find_no_archive(alice, bob, things, what, studio, work):
    path = f"/{what.format(**things)}/archive"
    assert bob.get(path).status_code == 404
    assert bob.head(path).status_code == 404
    assert alice.client.get(f"/api/v1{path}").status_code == 401


# ---- models


def test_a_model_archive_is_its_folder_and_a_card(alice, work):
    model_id = work.model(alice)
    archive = opened(alice.get(f"/models/{model_id}/archive"))
    assert set(archive.namelist()) == {"README.md", "atelier.json", "model.safetensors"}
    assert archive.read("model.safetensors") == b"weights"
    about = json.loads(archive.read("atelier.json"))
    assert (about["family"], about["params"]["steps"]) == ("toy", 100)
    card = archive.read("README.md").decode()
    assert "3" * 64 in card and "steps" in card


def test_a_shared_model_is_downloaded_by_others_without_what_is_its_owners(
    alice, bob, work, studio
):
    model_id = work.model(alice)
    path = f"/models/{model_id}/archive"
    assert bob.get(path).status_code == 404
    alice.patch(f"/models/{model_id}", json={"visibility": "shared"})
    archive = opened(bob.get(path))
    assert "params" not in json.loads(archive.read("atelier.json"))
    card = archive.read("README.md").decode()
    job_id = alice.get(f"/models/{model_id}").json["job_id"]
    assert job_id not in card and "steps" not in card and "d" * 64 in card
    # a folder that says it itself says it to its owner only
    with studio.db.writing() as session:
        row = session.get_one(Model, model_id)
        text = b'{"family": "toy", "params": {"steps": 1}, "seed": 5}'
        sha256, size = studio.storage.put_bytes(f"{row.location}/atelier.json", text)
        row.files = {**row.files, "atelier.json": {"sha256": sha256, "bytes": size}}
    assert json.loads(opened(bob.get(path)).read("atelier.json")) == {"family": "toy"}
    assert opened(alice.get(path)).read("atelier.json") == text
    alice.patch(f"/models/{model_id}", json={"visibility": "private"})
    assert bob.get(path).status_code == 404


def test_the_name_of_a_model_cannot_break_its_card(alice, work):
    model_id = work.model(alice)
    name = 'a"b | <script> # `x` ../é'
    alice.patch(f"/models/{model_id}", json={"name": name})
    answer = alice.get(f"/models/{model_id}/archive")
    card = opened(answer).read("README.md").decode()
    assert f"model_name: {json.dumps(name, ensure_ascii=False)}\n" in card
    assert "<script>" not in card.split("---")[2]


# ---- datasets


@pytest.fixture
def packed(alice, studio):
    """A dataset of three pictures in two folders, more than one page of them."""
    with studio.db.writing() as session:
        row = Dataset(
            id="packed", user_id=alice.user.id, name="cats", kind="images", state="ready",
            sha256="e" * 64, item_count=3, facts={}, problems={}, created_at=1.0,
        )  # fmt: skip
        session.add(row)
        session.flush()
        for n, (name, data) in enumerate(
            [("a/1.png", b"one"), ("b/1.png", b""), ("c.JPG", b"333")]
        ):
            session.add(
                DatasetItem(
                    dataset_id=row.id,
                    n=n,
                    name=name,
                    sha256=hashlib.sha256(data).hexdigest(),
                    media_type="image/png",
                    offset=0 if n == 0 else 3,
                    bytes=len(data),
                    label=name[0],
                    caption="a cat" if n == 0 else None,
                    facts={"width": 1},
                )  # fmt: skip
            )
    studio.storage.put_bytes("datasets/packed/data.bin", b"one333")
    return "packed"


def test_a_dataset_archive_holds_every_item_with_label_and_caption(alice, packed, monkeypatch):
    monkeypatch.setattr(archives, "ITEMS_AT_ONCE", 2)
    archive = opened(alice.get(f"/datasets/{packed}/archive"))
    lines = [json.loads(line) for line in archive.read("manifest.jsonl").splitlines()]
    assert [line["file"] for line in lines] == [
        "items/a/000000-1.png",
        "items/b/000001-1.png",
        "items/000002-c.JPG.png",
    ]
    assert archive.namelist() == ["manifest.jsonl", *(line["file"] for line in lines)]
    assert [archive.read(line["file"]) for line in lines] == [b"one", b"", b"333"]
    assert [(line["label"], line["caption"]) for line in lines][0] == ("a", "a cat")
    head = alice.head(f"/datasets/{packed}/archive")
    assert head.status_code == 200 and "Content-Length" not in head.headers


def test_a_dataset_archive_is_read_while_it_is_sent(alice, packed, monkeypatch):
    read = []
    items = archives._items

    def watched(*arguments):
        for item in items(*arguments):
            read.append(item.n)
            yield item

    monkeypatch.setattr(archives, "_items", watched)
    answer = alice.get(f"/datasets/{packed}/archive", buffered=False)
    begun = len(read)  # the client asks for the first part at once
    assert len(list(answer.iter_encoded())) > 3
    answer.close()
    assert len(read) > begun


def test_a_dataset_that_is_not_ready_has_no_archive(alice, work):
    dataset_id = work.dataset(alice, state="checking")
    answer = alice.get(f"/datasets/{dataset_id}/archive")
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")


# ---- the format


class Endless(io.RawIOBase):
    """A large file that is nowhere."""

    def __init__(self, size):
        self.left = size

    def read(self, size=-1):
        data = b"\0" * min(size, self.left)
        self.left -= len(data)
        return data


def test_a_zip_is_sent_while_it_is_read():
    size = 300 << 20
    reads = itertools.count()

    def open_one():
        next(reads)
        return Endless(size)

    members = [zips.Member(f"{n}.bin", size, open_one) for n in range(1000)]
    stream = zips.zipped(members)
    assert max(len(part) for part in itertools.islice(stream, 100)) <= zips.CHUNK
    assert next(reads) == 2  # the second file waits for its turn
    stream.close()


@pytest.mark.parametrize("names", [["a"], ["a", "b/c.txt", "图片.png"], ["x" * 300] * 3])
def test_the_length_of_a_zip_is_known_before(names):
    members = [
        zips.Member(name, 5 * n, lambda n=n: io.BytesIO(b"12345" * n))
        for n, name in enumerate(names)
    ]
    assert zips.size_of(members) == sum(map(len, zips.zipped(members)))


def test_a_file_that_changed_its_size_ends_the_stream_with_an_error():
    with pytest.raises(ZipIntegrityError):
        list(zips.zipped([zips.Member("a", 5, lambda: io.BytesIO(b"123456"))]))


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("../../a.txt", "a.txt"),
        ("/etc/passwd", "etc/passwd"),
        ("C:\\Windows\\x.png", "C_/Windows/x.png"),
        ("..", "file"),
        ("", "file"),
        (" . / .. /a", "a"),
        (".hidden", "_.hidden"),
        ("con.txt", "_con.txt"),
        ("LPT1", "_LPT1"),
        ("a\0b\n.png", "a_b_.png"),
        ("gnp.\u202etxt", "gnp._txt"),
        ("图片 1.png", "图片 1.png"),
        ("a" * 400 + ".png", "a" * 146 + ".png"),
        ("half\ud800.txt", "half_.txt"),
    ],
)
def test_names_in_a_zip_unpack_anywhere(wanted, given):
    assert zips.Names().unique(wanted) == given


def test_names_that_differ_in_case_only_get_a_number():
    names = zips.Names("manifest.json")
    given = [names.unique(name) for name in ("a.txt", "A.txt", "a.TXT", "a-2.txt", "manifest.json")]
    assert given == ["a.txt", "A-2.txt", "a-3.TXT", "a-2-2.txt", "manifest-2.json"]


def test_checksums_are_those_of_zlib():
    stored = zips.zipped([zips.Member("a", 3, lambda: io.BytesIO(b"abc"))])
    archive = zipfile.ZipFile(io.BytesIO(b"".join(stored)))
    assert archive.getinfo("a").CRC == zlib.crc32(b"abc")
