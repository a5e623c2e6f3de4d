"""Files that the check of a dataset refused: what to do about each."""

from __future__ import annotations

from flask_babel import lazy_gettext as _l

# (a part of the reason as worker/checking says it, what helps), the first that fits
ADVICE = (
    ("is empty", _l("Leave it out, or upload it again with its content.")),
    ("holds no text", _l("Leave it out, or upload it again with its content.")),
    ("damaged", _l("It was cut or changed on its way; pack or export it again.")),
    ("cut short", _l("It was cut or changed on its way; pack or export it again.")),
    ("cannot be decoded", _l("It was cut or changed on its way; pack or export it again.")),
    ("archive inside an archive", _l("Unpack the inner one first.")),
    ("unpacks to", _l("Unpack it and upload the folder instead.")),
    ("would be larger", _l("Upload it in several datasets, or fewer files.")),
    ("pickled", _l("Models are trained here, not uploaded; datasets are texts and pictures.")),
    ("model", _l("Models are trained here, not uploaded; datasets are texts and pictures.")),
    ("but this dataset holds", _l("Upload the other kind as a dataset of its own.")),
    ("UTF-8", _l("Save it as UTF-8 in your editor and upload it again.")),
    ("so it is no text", _l("Leave it out; if it is a document, export it as plain text.")),
    ("animation", _l("Export the frames that matter as single pictures.")),
    ("pixels", _l("Make it smaller; training shrinks pictures anyway.")),
    ("memory to be decoded", _l("Make it smaller; training shrinks pictures anyway.")),
    ("is larger than", _l("Split it into smaller files.")),
    (
        "there is no picture",
        _l("Add the picture to the upload, or take its line out of the table."),
    ),
    ("could be any of", _l("Write the name with its folder, so that only one picture fits.")),
    ("was told of before", _l("Keep one line for each picture.")),
    (
        "has no column",
        _l("Name the columns in the first line: text, or file_name beside pictures."),
    ),
    ("not JSON", _l('Write one object a line, like {"text": "..."}.')),
    ("must be an object", _l('Write one object a line, like {"text": "..."}.')),
    ("CSV", _l("Save the table as CSV with commas and quoted fields.")),
    ("line of more than", _l("Break long lines.")),
    ("named like a picture", _l("Open it and export it as PNG, JPEG or WebP.")),
)
ELSE = _l("Export it as .txt, .jsonl or .csv, or as .png, .jpg or .webp.")


def advice(message: str) -> str:
    """Nothing where the reason says it already."""
    if ";" in message:
        return ""
    return str(next((words for part, words in ADVICE if part in message), ELSE))
