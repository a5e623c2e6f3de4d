"""/datasets: uploads and samples in, items and their bytes out."""

from __future__ import annotations

from typing import BinaryIO, cast

from flask import Blueprint, Response, request

from shared.errors import Conflict, InUse, InvalidInput, QuotaExceeded, StorageFull, TooManyRequests
from web.api import shapes_schema as shapes
from web.api.answers import answer, body, body_of, no_body, nothing, query
from web.api.artifacts import file_answer
from web.api.describe import (
    BYTES,
    CONDITION,
    NOT_MODIFIED,
    NOTHING,
    RANGE,
    Answer,
    file_answers,
    told,
)
from web.queries import Forced, InPlace, ItemsAfter, ThumbnailSize
from web.requests import ModelChange, SampleRequest, Upload, UploadForm, UploadsRequest, check
from web.security import current_user, studio, takes_upload
from web.services import dataset_previews, datasets
from web.services.job_lists import Page

SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg"}
ACCEPTED = {202: Answer("Accepted; it is being checked.", shapes.Dataset, headers=("Location",))}
THE_PREVIEW = {
    200: Answer("Samples, counts, sizes, copies.", shapes.DatasetPreview, headers=("ETag",)),
    304: NOT_MODIFIED,
}

bp = Blueprint("datasets", __name__, url_prefix="/datasets")


@bp.get("")
@told("Your datasets, and those that are shared", shapes.DatasetList, query=Page)
def index() -> Response:
    return answer(datasets.list_datasets(studio(), current_user(), query(Page)))


@bp.post("")
@told(
    "Add a dataset",
    ACCEPTED,
    body=(UploadsRequest, SampleRequest),
    form=Upload,
    errors=(Conflict, QuotaExceeded, StorageFull, TooManyRequests),
)
@takes_upload
def add() -> Response:
    """JSON names a sample or finished uploads; multipart brings files."""
    if request.mimetype == "multipart/form-data":
        made = _add_upload()
    else:
        request.max_content_length = studio().settings.max_body_bytes
        made = _add_named(body_of(uploads=UploadsRequest, sample=SampleRequest))
    response = answer(made, 202)
    response.headers["Location"] = f"{request.path}/{made['id']}"
    return response


def _add_named(wanted: SampleRequest | UploadsRequest) -> dict[str, object]:
    if isinstance(wanted, SampleRequest):
        return datasets.add_sample(studio(), current_user(), wanted.sample, wanted.name)
    return datasets.add_finished(
        studio(), current_user(), wanted.name, wanted.kind, wanted.uploads, wanted.accept_partial
    )


def _add_upload() -> dict[str, object]:
    strange = sorted(set(request.files) - {"file"})
    if strange:
        pointer = f"/{strange[0][:80]}"
        raise InvalidInput(errors=[{"pointer": pointer, "message": "is not a field here"}])
    fields = {name: value for name, value in request.form.items() if name != "csrf_token"}
    form = check(UploadForm, fields)
    files = ((file.filename, file.stream) for file in request.files.getlist("file"))
    return datasets.add_upload(studio(), current_user(), form.name, form.kind, files, form.partial)


@bp.get("/<dataset_id>")
@told("One dataset", shapes.Dataset)
def show(dataset_id: str) -> Response:
    return answer(datasets.get_dataset(studio(), current_user(), dataset_id))


@bp.patch("/<dataset_id>")
@told("Rename or share a dataset", shapes.Dataset, body=ModelChange)
def change(dataset_id: str) -> Response:
    wanted = body(ModelChange)
    return answer(datasets.change_dataset(studio(), current_user(), dataset_id, wanted))


@bp.post("/<dataset_id>/accept")
@told(
    "Accept a dataset as it is",
    {202: Answer("It is being checked again.", shapes.Dataset)},
    errors=(Conflict, StorageFull),
)
def accept(dataset_id: str) -> Response:
    """A refused dataset without its bad files."""
    found = datasets.accept_as_it_is(studio(), current_user(), dataset_id)
    no_body()
    return answer(found, 202)


@bp.get("/<dataset_id>/preview")
@told("What is in a dataset", THE_PREVIEW, headers=CONDITION)
def preview(dataset_id: str) -> Response:
    found, sha256 = dataset_previews.preview(studio(), current_user(), dataset_id)
    response = answer(found)
    response.set_etag(f"{sha256}-preview")
    response.headers["Cache-Control"] = "private, no-cache"
    response.make_conditional(request.environ)
    return response


@bp.delete("/<dataset_id>")
@told("Delete a dataset", NOTHING, query=Forced, errors=(InUse,))
def delete(dataset_id: str) -> Response:
    datasets.delete_dataset(studio(), current_user(), dataset_id, force=query(Forced).force)
    return nothing()


@bp.get("/<dataset_id>/items")
@told("The items of a dataset", shapes.DatasetItemList, query=ItemsAfter)
def items(dataset_id: str) -> Response:
    asked = query(ItemsAfter)
    user = current_user()
    return answer(datasets.list_items(studio(), user, dataset_id, asked.after, asked.limit))


@bp.get("/<dataset_id>/items/<int(max=2147483647):n>/content")
@told("The bytes of an item", file_answers(BYTES), query=InPlace, headers=RANGE)
def item_content(dataset_id: str, n: int) -> Response:
    in_place = query(InPlace).inline
    item, file = datasets.open_item(studio(), current_user(), dataset_id, n)
    return file_answer(item, cast(BinaryIO, file), name=_file_name(item), in_place=in_place)


@bp.get("/<dataset_id>/items/<int(max=2147483647):n>/thumbnail")
@told("A small picture of an item", file_answers(BYTES), query=ThumbnailSize, headers=RANGE)
def item_thumbnail(dataset_id: str, n: int) -> Response:
    size = query(ThumbnailSize).size
    item, file = dataset_previews.open_thumbnail(studio(), current_user(), dataset_id, n, size)
    etag = f"{item['sha256']}-{size}"
    name = _file_name(item)
    return file_answer(item, cast(BinaryIO, file), name=name, in_place=True, etag=etag)


def _file_name(item: dict[str, object]) -> str:
    """A name that says what the bytes are now: every picture has become a PNG."""
    last = str(item["name"]).rsplit("/", 1)[-1]
    suffix = SUFFIXES.get(str(item["media_type"]), ".txt")
    return last if last.lower().endswith(suffix) else last + suffix
