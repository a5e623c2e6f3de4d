"""/datasets: uploads and samples in, items and their bytes out."""

from __future__ import annotations

from typing import IO, cast

from flask import Blueprint, Response, request, send_file

from shared.errors import InUse, InvalidInput, QuotaExceeded, StorageFull, TooManyRequests
from web.api import shapes_schema as shapes
from web.api.answers import answer, body, nothing, query
from web.api.artifacts import SANDBOX, SHOWN_IN_PLACE
from web.api.describe import BYTES, NOTHING, RANGE, Answer, file_answers, told
from web.queries import Forced, InPlace, ItemsAfter
from web.requests import ModelChange, SampleRequest, Upload, UploadForm, check
from web.security import current_user, studio, takes_upload
from web.services import datasets
from web.services.job_lists import Page

ACCEPTED = {202: Answer("Accepted; it is being checked.", shapes.Dataset, headers=("Location",))}

bp = Blueprint("datasets", __name__, url_prefix="/datasets")


@bp.get("")
@told("Your datasets, and those that are shared", shapes.DatasetList, query=Page)
def index() -> Response:
    return answer(datasets.list_datasets(studio(), current_user(), query(Page)))


@bp.post("")
@told(
    "Add a dataset",
    ACCEPTED,
    body=SampleRequest,
    form=Upload,
    errors=(QuotaExceeded, StorageFull, TooManyRequests),
)
@takes_upload
def add() -> Response:
    """JSON names a sample; multipart brings files."""
    if request.mimetype == "multipart/form-data":
        made = _add_upload()
    else:
        request.max_content_length = studio().settings.max_body_bytes
        wanted = body(SampleRequest)
        made = datasets.add_sample(studio(), current_user(), wanted.sample, wanted.name)
    response = answer(made, 202)
    response.headers["Location"] = f"{request.path}/{made['id']}"
    return response


def _add_upload() -> dict[str, object]:
    strange = sorted(set(request.files) - {"file"})
    if strange:
        pointer = f"/{strange[0][:80]}"
        raise InvalidInput(errors=[{"pointer": pointer, "message": "is not a field here"}])
    fields = {name: value for name, value in request.form.items() if name != "csrf_token"}
    form = check(UploadForm, fields)
    files = ((file.filename, file.stream) for file in request.files.getlist("file"))
    return datasets.add_upload(studio(), current_user(), form.name, form.kind, files)


@bp.get("/<dataset_id>")
@told("One dataset", shapes.Dataset)
def show(dataset_id: str) -> Response:
    return answer(datasets.get_dataset(studio(), current_user(), dataset_id))


@bp.patch("/<dataset_id>")
@told("Rename or share a dataset", shapes.Dataset, body=ModelChange)
def change(dataset_id: str) -> Response:
    wanted = body(ModelChange)
    return answer(datasets.change_dataset(studio(), current_user(), dataset_id, wanted))


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
    item, file = datasets.open_item(studio(), current_user(), dataset_id, n)
    in_place = query(InPlace).inline and item["media_type"] in SHOWN_IN_PLACE
    response = send_file(
        cast(IO[bytes], file),
        mimetype=item["media_type"],
        as_attachment=not in_place,
        download_name=_file_name(item),
        etag=item["sha256"],
        conditional=False,
    )
    response.content_length = item["bytes"]
    response.make_conditional(request.environ, accept_ranges=True, complete_length=item["bytes"])
    response.headers["Content-Security-Policy"] = SANDBOX
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _file_name(item: dict[str, object]) -> str:
    """A name that says what the bytes are now: every picture has become a PNG."""
    last = str(item["name"]).rsplit("/", 1)[-1]
    suffix = ".png" if item["media_type"] == "image/png" else ".txt"
    return last if last.lower().endswith(suffix) else last + suffix
