"""Text to tokens and back for text families: single characters, or byte-level BPE (Sennrich et al. 2016).

A `tokenizers` tokenizer underneath, so that a saved folder opens with transformers' AutoTokenizer.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

END = "<|endoftext|>"  # stands before each document
UNKNOWN = "<unk>"
PIECE = 50_000  # characters encoded at a time; a whole book at once takes gigabytes
UNSPACED = re.compile(r"\w{64}|\s{64}")
# GPT-2's words, but bounded: Chinese has no spaces, and a page as one word takes minutes to learn
WORDS = (
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}{1,24}| ?\p{N}{1,3}| ?[^\s\p{L}\p{N}]{1,24}"
    r"|\s{1,24}(?!\S)|\s{1,24}"
)


def characters(documents: Iterable[str]) -> Tokens:
    """One token for each character that occurs."""
    alphabet = sorted(set(chain.from_iterable(set(document) for document in documents)))
    vocabulary = {token: n for n, token in enumerate([END, UNKNOWN, *alphabet])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens([END, UNKNOWN])
    return Tokens(tokenizer)


def byte_pairs(documents: Sequence[str], vocab_size: int) -> Tokens:
    """Byte-level BPE learnt from the documents; every text can be encoded."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _words(documents)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=32,
        show_progress=False,
    )
    tokenizer.train_from_iterator(chain.from_iterable(map(_pieces, documents)), trainer)
    return Tokens(tokenizer)


def _words(documents: Sequence[str]) -> pre_tokenizers.PreTokenizer:
    """What BPE never joins across; GPT-2's own rule, four times as fast, where it will do."""
    if not any(map(UNSPACED.search, documents)):
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    bounded = pre_tokenizers.Split(Regex(WORDS), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([bounded, as_bytes])


class Tokens:
    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        # "<|endoftext|>" typed by a person is thirteen characters, not the end
        tokenizer.encode_special_tokens = True
        self.size: int = tokenizer.get_vocab_size()
        vocabulary = tokenizer.get_vocab()
        self.end = vocabulary[END]
        self.unknown = vocabulary.get(UNKNOWN)

    @classmethod
    def load(cls, folder: Path) -> Tokens:
        return cls(Tokenizer.from_file(str(folder / "tokenizer.json")))

    def save(self, folder: Path, longest: int) -> None:
        """What AutoTokenizer opens without code of ours."""
        self.tokenizer.save(str(folder / "tokenizer.json"))
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": longest,
            "clean_up_tokenization_spaces": False,
            "eos_token": END,
            "pad_token": END,
        }
        if self.unknown is not None:
            config["unk_token"] = UNKNOWN
        text = json.dumps(config, indent=2, sort_keys=True) + "\n"
        (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")

    def __deepcopy__(self, memo: object) -> Tokens:
        """Never changes, so copies of a model share it."""
        return self

    @property
    def kind(self) -> str:
        return "bpe" if self.unknown is None else "characters"

    def encode(self, text: str) -> np.ndarray:
        """The text's tokens, int32."""
        if self.unknown is not None:
            return self._table[np.frombuffer(text.encode("utf-32-le"), dtype="<u4")]
        encoded = self.tokenizer.encode_batch_fast(list(_pieces(text)), add_special_tokens=False)
        return np.array([n for part in encoded for n in part.ids], dtype=np.int32)

    def encode_all(self, documents: Sequence[str]) -> np.ndarray:
        """One long row: END and then the tokens, document after document."""
        end = np.array([self.end], dtype=np.int32)
        rows = [part for document in documents for part in (end, self.encode(document))]
        return np.concatenate(rows) if rows else end[:0]

    def foreign(self, text: str) -> list[str]:
        """Characters of the text that have no token, in order of appearance."""
        if self.unknown is None:
            return []
        return [c for c in dict.fromkeys(text) if self._table[ord(c)] == self.unknown]

    @cached_property
    def pieces(self) -> list[bytes]:
        """The UTF-8 bytes that each token stands for; of END and UNKNOWN none."""
        vocabulary = self.tokenizer.get_vocab()
        names = sorted(vocabulary, key=vocabulary.__getitem__)
        if self.unknown is not None:
            return [b"" if name in (END, UNKNOWN) else name.encode() for name in names]
        byte_of = _byte_alphabet()
        return [b"" if name == END else bytes(byte_of[c] for c in name) for name in names]

    @cached_property
    def _table(self) -> np.ndarray:
        table = np.full(0x110000, self.unknown, dtype=np.int32)
        for token, n in self.tokenizer.get_vocab().items():
            if len(token) == 1:
                table[ord(token)] = n
        return table


def _pieces(text: str) -> Iterable[str]:
    """The text cut into manageable pieces, where possible before the space that begins a word."""
    start = 0
    while len(text) - start > PIECE:
        cut = text.rfind(" ", start + 1, start + PIECE)
        cut = cut if cut > 0 else start + PIECE
        yield text[start:cut]
        start = cut
    yield text[start:]


def _byte_alphabet() -> dict[str, int]:
    """The printable character by which byte-level BPE writes each byte (Radford et al. 2019)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    return alphabet | {chr(256 + n): byte for n, byte in enumerate(others)}


class GrowingText:
    """Text made piece by piece: ends at the first stop string, never shows half a character."""

    def __init__(self, stop: Sequence[str]) -> None:
        self.stops = [text.encode() for text in stop]
        self.data = bytearray()
        self.stopped = False

    def add(self, piece: bytes) -> None:
        before = len(self.data)
        self.data += piece
        places = [self.data.find(stop, max(0, before - len(stop) + 1)) for stop in self.stops]
        found = [place for place in places if place >= 0]
        if found:
            del self.data[min(found) :]
            self.stopped = True

    def so_far(self) -> str:
        """Sound text that later pieces only lengthen: half characters and half stops are kept back."""
        end = len(self.data) - max(map(self._begun, self.stops), default=0)
        return codecs.getincrementaldecoder("utf-8")("replace").decode(bytes(self.data[:end]))

    def whole(self) -> str:
        return self.data.decode("utf-8", "replace")

    def _begun(self, stop: bytes) -> int:
        """How many bytes at the end may turn out to be the beginning of `stop`."""
        if self.stopped:
            return 0
        lengths = range(min(len(stop) - 1, len(self.data)), 0, -1)
        return next((n for n in lengths if self.data.endswith(stop[:n])), 0)
