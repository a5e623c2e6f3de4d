from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ElementTree

from PIL import Image

from worker.labels import SOURCE_TYPE, label_of, labelled

MADE_FROM = {"model": "ab", "params": {"word": 'ein "Wort" & 猫 <b>'}, "seed": 3, "index": 1}
LABEL = label_of(producer='Lab "A" & B', service="studio", **MADE_FROM)


def picture():
    file = io.BytesIO()
    Image.linear_gradient("L").save(file, "PNG")
    return file.getvalue()


def test_the_label_has_the_fields_of_the_standard():
    assert list(LABEL) == [
        "Label", "ContentProducer", "ProduceID", "ReservedCode1",
        "ContentPropagator", "PropagateID", "ReservedCode2",
    ]  # fmt: skip
    assert LABEL["Label"] == "1"


def test_the_number_depends_on_what_it_was_made_from_and_on_nothing_else():
    again = label_of(producer="other", service="", **MADE_FROM)
    assert again["ProduceID"] == LABEL["ProduceID"]
    assert again["PropagateID"] == ""
    for name, value in [("model", "cd"), ("params", {}), ("seed", 4), ("index", 2)]:
        other = label_of(producer="", service="", **(MADE_FROM | {name: value}))
        assert other["ProduceID"] != LABEL["ProduceID"]


def test_a_png_carries_its_label_and_keeps_its_pixels():
    data = labelled(picture(), "image/png", LABEL, MADE_FROM)
    with Image.open(io.BytesIO(data)) as image, Image.open(io.BytesIO(picture())) as plain:
        assert image.tobytes() == plain.tobytes()
        assert json.loads(image.text["AIGC"]) == LABEL
        assert json.loads(image.text["parameters"]) == MADE_FROM
        xmp = ElementTree.fromstring(image.text["XML:com.adobe.xmp"].split("?>", 1)[1])
    (description,) = xmp.iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description")
    aigc = description.attrib["{http://www.tc260.org.cn/ns/AIGC/1.0/}AIGC"]
    assert json.loads(aigc) == LABEL
    assert SOURCE_TYPE in description.attrib.values()
    with Image.open(io.BytesIO(data)) as image:
        image.verify()


def test_the_same_input_gives_the_same_bytes():
    one, two = (labelled(picture(), "image/png", LABEL, MADE_FROM) for _ in range(2))
    assert one == two


def test_text_stays_as_it_is():
    assert labelled(b"words", "text/plain", LABEL, MADE_FROM) == b"words"
    assert labelled(b"no png", "image/png", LABEL, MADE_FROM) == b"no png"
