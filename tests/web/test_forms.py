"""Forms: fields drawn from a schema, and typed text back to parameters."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.params import Field, Params, clean, schema_of
from web import forms


class Everything(Params):
    steps: int = Field(100, ge=1, le=1_000_000, title="Steps", description="Optimizer steps.")
    rate: float = Field(0.001, gt=0, lt=1, title="Rate", description="How far a step goes.")
    even: int = Field(8, ge=2, multiple_of=2, title="Even", description="Only even ones.")
    augment: bool = Field(True, title="Augment", description="Turn pictures.")
    size: Literal[8, 16, 32] = Field(16, title="Size", description="Side in pixels.")
    style: Literal["plain", "wild"] = Field("plain", title="Style", description="The manner.")
    label: str | None = Field(None, title="Label", description="Which one.")
    word: str = Field("a", min_length=1, max_length=20, title="Word", description="Never empty.")
    prompt: str = Field("Once", max_length=5000, title="Prompt", description="Where it begins.")
    stop: list[str] = Field([], max_length=3, title="Stop", description="Where it ends.")
    top_k: int | None = Field(None, ge=1, title="Top k", description="Only the likeliest.")
    first: str | None = Field(
        None, title="First", description="A picture.", json_schema_extra={"x-ref": "image"}
    )
    late: int = Field(
        3, ge=0, title="Late", description="Rarely touched.", json_schema_extra={"x-advanced": True}
    )


SCHEMA = schema_of(Everything)


def field(name, values=None, errors=()):
    found = {one.name: one for one in forms.fields_of(SCHEMA, values or {}, errors)}
    return found[name]


def read(**typed):
    return forms.parse(SCHEMA, {f"params.{name}": text for name, text in typed.items()})


def problem_at(typed, pointer):
    return {p["pointer"]: p["message"] for p in read(**typed)[1]}.get(pointer)


def test_fields_come_in_the_order_of_the_family():
    names = [one.name for one in forms.fields_of(SCHEMA, {})]
    assert names == list(Everything.model_fields)


def test_each_type_gets_its_kind_of_input():
    kinds = {one.name: one.kind for one in forms.fields_of(SCHEMA, {})}
    assert kinds == {
        "steps": "integer",
        "rate": "number",
        "even": "integer",
        "augment": "checkbox",
        "size": "select",
        "style": "select",
        "label": "text",
        "word": "text",
        "prompt": "textarea",
        "stop": "list",
        "top_k": "integer",
        "first": "ref",
        "late": "integer",
    }


def test_a_field_says_its_title_help_range_and_default():
    steps = field("steps")
    assert (steps.label, steps.help, steps.value) == ("Steps", "Optimizer steps.", "100")
    assert (steps.minimum, steps.maximum, steps.step) == ("1", "1000000", "1")
    assert steps.range == "1 – 1,000,000"
    assert field("rate").range == "more than 0, less than 1"
    assert field("even").step == "2"
    assert field("top_k").range == "at least 1"


def test_advanced_parameters_are_marked():
    assert field("late").advanced
    assert not field("steps").advanced


def test_the_default_is_chosen_and_an_optional_choice_can_be_none():
    assert [o.value for o in field("size").options if o.chosen] == ["16"]
    schema = {"properties": {"digit": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}
    schema["properties"]["digit"] |= {"enum": ["0", "1", None], "default": None}
    digit = forms.fields_of(schema, {})[0]
    assert [(o.value, o.chosen) for o in digit.options] == [("", True), ("0", False), ("1", False)]
    assert forms.parse(schema, {"params.digit": ""}) == ({"digit": None}, [])
    assert forms.parse(schema, {"params.digit": "1"}) == ({"digit": "1"}, [])


def test_an_optional_choice_written_by_pydantic_can_be_none():
    class Optional(Params):
        style: Literal["a", "b"] | None = Field(None, title="Style", description="Or none.")

    schema = schema_of(Optional)
    assert [o.value for o in forms.fields_of(schema, {})[0].options] == ["", "a", "b"]
    assert forms.parse(schema, {"params.style": ""}) == ({"style": None}, [])


def test_an_untouched_form_gives_the_defaults():
    sent = {}
    for one in forms.fields_of(SCHEMA, {}):
        if one.kind == "checkbox":
            sent[one.input + ".shown"] = "1"
        if one.kind != "checkbox" or one.value == "true":
            sent[one.input] = one.value
    params, problems = forms.parse(SCHEMA, sent)
    assert problems == []
    assert clean(SCHEMA, params) == clean(SCHEMA, {})


def test_what_is_missing_or_emptied_takes_its_default():
    params, problems = read(steps="", rate="  ", word="", size="")
    assert (params, problems) == ({}, [])


def test_a_text_that_may_be_empty_can_be_emptied():
    assert read(prompt="", label="", stop="")[0] == {"prompt": "", "label": None, "stop": []}


@pytest.mark.parametrize("text", ["1.5", "1e3", "١", "１", "1_000", "1,000", "0x10", "ten", "--1"])
def test_a_whole_number_is_read_strictly(text):
    assert problem_at({"steps": text}, "/params/steps") == "must be a whole number"


@pytest.mark.parametrize("text", ["nan", "inf", "1e", "٠.٥", "0,5", "1_0.0", ".", "1d"])
def test_a_number_is_read_strictly(text):
    assert problem_at({"rate": text}, "/params/rate") == "must be a number"


@pytest.mark.parametrize("text", ["1e400", "1e308"])
def test_a_number_beyond_all_bounds_is_refused(text):
    assert problem_at({"rate": text}, "/params/rate")


@pytest.mark.parametrize(("text", "value"), [(" 7 ", 7), ("+7", 7), ("007", 7)])
def test_whole_numbers_are_read_as_people_write_them(text, value):
    assert read(steps=text) == ({"steps": value}, [])


@pytest.mark.parametrize(("text", "value"), [("3e-4", 3e-4), (".5", 0.5), ("0.25 ", 0.25)])
def test_numbers_are_read_as_people_write_them(text, value):
    assert read(rate=text) == ({"rate": value}, [])


def test_a_number_with_a_thousand_digits_is_refused_at_once():
    assert problem_at({"steps": "9" * 1000}, "/params/steps") == "must be a whole number"


def test_range_errors_are_said_together_with_unreadable_values():
    problems = read(steps="0", rate="x", even="3")[1]
    assert {p["pointer"] for p in problems} == {"/params/steps", "/params/rate", "/params/even"}


def test_a_choice_keeps_its_type_and_nothing_else_is_taken():
    assert read(size="32") == ({"size": 32}, [])
    assert problem_at({"size": "33"}, "/params/size") == "must be one of 8, 16, 32"


def test_an_unchecked_box_is_false_only_where_it_was_shown():
    assert forms.parse(SCHEMA, {"params.augment.shown": "1"})[0] == {"augment": False}
    on = {"params.augment.shown": "1", "params.augment": "true"}
    assert forms.parse(SCHEMA, on)[0] == {"augment": True}
    assert forms.parse(SCHEMA, {})[0] == {}
    assert problem_at({"augment": "yes"}, "/params/augment") == "must be true or false"


def test_a_list_is_one_entry_a_line_with_escapes():
    params, problems = read(stop="User:\r\n\\n\\n\r\n\r\na\\\\n")
    assert problems == []
    assert params == {"stop": ["User:", "\n\n", "a\\n"]}
    assert field("stop", params).value == "User:\n\\n\\n\na\\\\n"


def test_too_many_entries_are_refused_at_the_list():
    assert problem_at({"stop": "a\nb\nc\nd"}, "/params/stop") == "must have at most 3 entries"


def test_numbers_in_a_list_are_read_strictly_and_the_entry_is_named():
    schema = {"properties": {"sizes": {"type": "array", "items": {"type": "integer"}}}}
    assert forms.parse(schema, {"params.sizes": "1\n2"}) == ({"sizes": [1, 2]}, [])
    problems = forms.parse(schema, {"params.sizes": "1\nx"})[1]
    assert forms.field_errors(problems) == {"params.sizes": "Entry 2 must be a whole number."}


def test_line_breaks_of_a_browser_become_plain_ones():
    assert read(prompt="a\r\nb\rc")[0] == {"prompt": "a\nb\nc"}


def test_a_typed_id_goes_before_the_chosen_card():
    both = {"params.first": "aaa", "params.first.id": " bbb "}
    assert forms.parse(SCHEMA, both)[0] == {"first": "bbb"}
    assert forms.typed(both) == {"first": "bbb"}
    assert forms.parse(SCHEMA, {"params.first": "aaa", "params.first.id": ""})[0] == {
        "first": "aaa"
    }


def test_unknown_parameters_are_refused():
    assert problem_at({"nonsense": "1"}, "/params/nonsense") == "is not a parameter here"


def test_errors_stand_at_their_field_and_what_was_typed_is_kept():
    form = {"params.steps": "many", "params.prompt": "kept"}
    problems = forms.parse(SCHEMA, form)[1]
    drawn = {one.name: one for one in forms.fields_of(SCHEMA, forms.typed(form), problems)}
    assert drawn["steps"].error == "Must be a whole number."
    assert drawn["steps"].value == "many"
    # a browser would show nothing at all in a number's input
    assert drawn["steps"].html_type == "text"
    assert drawn["prompt"].value == "kept"
    assert drawn["rate"].error == ""


def test_pointers_are_unescaped_and_told_by_input():
    errors = [
        {"pointer": "/params/a~1b", "message": "is wrong"},
        {"pointer": "/dataset_id", "message": "is still being checked"},
        {"pointer": "", "message": "must be an object"},
    ]
    assert forms.field_errors(errors) == {
        "params.a/b": "Is wrong.",
        "dataset_id": "Is still being checked.",
        "": "Must be an object.",
    }


def test_a_union_takes_the_first_type_that_fits():
    class Union(Params):
        size: int | Literal["auto"] = Field("auto", title="Size", description="Or auto.")

    schema = schema_of(Union)
    assert forms.parse(schema, {"params.size": "12"}) == ({"size": 12}, [])
    assert forms.parse(schema, {"params.size": "auto"}) == ({"size": "auto"}, [])


@given(st.dictionaries(st.sampled_from(list(Everything.model_fields)), st.text(max_size=40)))
def test_no_text_breaks_the_reader_or_gets_past_the_schema(typed):
    params, problems = read(**typed)
    if not problems:
        assert clean(SCHEMA, params)[1] == []
    forms.fields_of(SCHEMA, forms.typed({f"params.{k}": v for k, v in typed.items()}), problems)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "steps": st.integers(1, 1_000_000),
            "rate": st.floats(0, 1, exclude_min=True, exclude_max=True),
            "augment": st.booleans(),
            "size": st.sampled_from([8, 16, 32]),
            "prompt": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r")),
            "stop": st.lists(
                st.text(
                    st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), min_size=1
                ).filter(str.strip),
                max_size=3,
            ),
        },
    )
)
def test_what_is_shown_is_read_back_the_same(values):
    drawn = {one.name: one for one in forms.fields_of(SCHEMA, values)}
    sent = {drawn[name].input: drawn[name].value for name in values}
    assert forms.parse(SCHEMA, sent) == (values, [])
