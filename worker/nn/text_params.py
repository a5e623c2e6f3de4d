"""What may be asked of every sampler of text (text_sampler.py)."""

from __future__ import annotations

from typing import Annotated

from shared.params import Field, Params
from worker.nn.fields import number


class TextParams(Params):
    prompt: str = Field(
        "",
        max_length=20_000,
        title="Prompt",
        description="Text to continue; empty starts a new document.",
        json_schema_extra={"x-widget": "textarea"},
    )
    max_new_tokens: int = number(
        200, 1, 20_000, "Length", "The most tokens to generate.", unit="tokens"
    )
    temperature: float = number(
        0.8, 0.0, 5.0, "Temperature", "0 takes the likeliest token; higher is more surprising."
    )
    top_k: int = number(0, 0, 1_000_000, "Top k", "Choose among so many likeliest tokens; 0: all.")
    top_p: float = number(
        1.0, 0.001, 1.0, "Top p", "Choose among the likeliest tokens of this total probability."
    )
    repetition_penalty: float = number(
        1.0, 0.5, 5.0, "Repetition penalty", "Above 1, tokens already in the text get less likely."
    )
    stop: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        [],
        max_length=8,
        title="Stop texts",
        description="Generation ends before the first of these that would appear.",
    )
    include_prompt: bool = Field(
        True, title="Include the prompt", description="Whether the result begins with the prompt."
    )
    count: int = number(1, 1, 256, "Samples", "How many texts to make.")
