"""Tokenizers: exact round trips, and text that grows without half characters or half stops."""

from __future__ import annotations

import copy

import pytest

from worker.nn.tokens import END, GrowingText, Tokens, byte_pairs, characters

TEXT = (
    "To be, or not to be:\n\n\tthat is  the question.\r\n春眠不覺曉，處處聞啼鳥。 é 🙂👍🏽 <unk>\n"
)
KINDS = {"characters": characters, "bpe": lambda documents: byte_pairs(documents, 400)}


@pytest.fixture(params=KINDS)
def tokens(request):
    return KINDS[request.param]([TEXT * 20, "A second document."])


def test_text_comes_back_exactly(tokens):
    ids = tokens.encode(TEXT)
    assert b"".join(tokens.pieces[n] for n in ids).decode() == TEXT
    assert tokens.tokenizer.decode(ids.tolist(), skip_special_tokens=False) == TEXT
    assert tokens.encode("").tolist() == []


def test_a_saved_tokenizer_encodes_the_same(tokens, tmp_path):
    tokens.save(tmp_path, longest=64)
    again = Tokens.load(tmp_path)
    assert (again.kind, again.size, again.end) == (tokens.kind, tokens.size, tokens.end)
    assert again.encode(TEXT).tolist() == tokens.encode(TEXT).tolist()
    assert again.pieces == tokens.pieces


def test_the_end_mark_typed_by_a_person_is_only_text(tokens):
    known = [c for c in END if not tokens.foreign(c)]
    assert tokens.end not in copy.deepcopy(tokens).encode("".join(known))
    assert tokens.end not in tokens.encode(END)


def test_documents_are_set_apart(tokens):
    row = tokens.encode_all(["To be", "or not"]).tolist()
    assert [n for n, token in enumerate(row) if token == tokens.end] == [
        0,
        1 + row[1:].index(tokens.end),
    ]
    assert tokens.encode_all([]).tolist() == []


def test_long_text_is_encoded_as_a_whole_would_be():
    text = "the quick brown fox jumps over the lazy dog and " * 3000
    tokens = byte_pairs([text], 400)
    assert len(text) > 100_000
    assert tokens.encode(text).tolist() == tokens.tokenizer.encode(text).ids


def test_text_without_a_space_is_cut_all_the_same():
    text = "汉字" * 60_000
    tokens = byte_pairs([text], 400)
    assert b"".join(tokens.pieces[n] for n in tokens.encode(text)).decode() == text


def test_only_character_tokens_can_be_foreign():
    assert characters(["abc"]).foreign("abxcyx") == ["x", "y"]
    assert byte_pairs(["abc"], 300).foreign("xyz") == []


def test_learning_bpe_twice_gives_the_same_pieces():
    first, second = (byte_pairs([TEXT * 50], 380).tokenizer.to_str() for _ in range(2))
    assert first == second


def test_growing_text_never_shows_half_a_character():
    text = GrowingText([])
    shown = []
    for byte in "é🙂春x".encode():
        text.add(bytes([byte]))
        shown.append(text.so_far())
    assert shown == ["", "é", "é", "é", "é", "é🙂", "é🙂", "é🙂", "é🙂春", "é🙂春x"]
    assert text.whole() == "é🙂春x"


def test_growing_text_ends_before_the_earliest_stop():
    text = GrowingText(["end", "\n\n", "zzz"])
    for piece in (b"one\n", b"two e", b"nd of it\n\n"):
        text.add(piece)
    assert text.stopped and text.whole() == text.so_far() == "one\ntwo "


def test_growing_text_keeps_back_what_may_become_a_stop():
    text = GrowingText(["STOP"])
    text.add(b"go ST")
    assert text.so_far() == "go " and text.whole() == "go ST"
    text.add(b"UMP")
    assert text.so_far() == "go STUMP" and not text.stopped
    text.add(b"ST")
    text.add(b"OPPED")
    assert text.stopped and text.whole() == "go STUMP"


def test_sound_text_only_grows():
    text, before = GrowingText(["aab"]), ""
    for byte in b"aaaxaaaaxa\xff\xc3(aab":
        text.add(bytes([byte]))
        assert text.so_far().startswith(before)
        before = text.so_far()
    assert text.stopped
