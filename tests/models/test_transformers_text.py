"""Texts as tokens: the same each time, from the columns that were meant."""

from __future__ import annotations

import pyarrow as pa
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.trainers import WordPieceTrainer

from renewal.core.errors import Invalid
from renewal.models.tokenizers_front import encoded, loaded_tokenizer, texts_of
from renewal.models.transformers_text import padded, text_columns, trained_tokenizer

TEXTS = [f"the {a}{b} card" for a in ("lost", "stol", "new", "old") for b in ("", "en", "er", "s")]


def _word_piece() -> str:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106  # a token of text
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = WordPieceTrainer(vocab_size=60, show_progress=False, special_tokens=["[UNK]"])
    tokenizer.train_from_iterator(TEXTS, trainer)
    return str(tokenizer.to_str())


def test_the_same_texts_train_the_same_tokenizer() -> None:
    """The library's trainer of WordPiece gives another vocabulary each time."""
    assert len({_word_piece() for _ in range(12)}) > 1, "no damage to show"
    assert len({trained_tokenizer(TEXTS, 300) for _ in range(12)}) == 1


def test_every_text_can_be_written_down() -> None:
    tokenizer = loaded_tokenizer(trained_tokenizer(TEXTS, 300), 12, who="a test")
    found = encoded(tokenizer, ["card", "日本語 \x00 🙂" * 9, "", "CARD"])
    assert all(1 not in each for each in found), "an unknown token"
    assert [len(each) for each in found] == [len(found[0]), 12, 2, len(found[0])]
    assert found[0] == found[3]


def test_a_limit_without_room_is_refused() -> None:
    """The library takes it and cuts nothing."""
    text = trained_tokenizer(TEXTS, 300)
    bare = Tokenizer.from_str(text)
    bare.enable_truncation(1)
    assert len(bare.encode("the lost card").ids) > 3, "no damage to show"
    with pytest.raises(Invalid, match="above the 2 marks"):
        loaded_tokenizer(text, 2, who="a test")


@pytest.mark.parametrize("text", ["", "{}", "no tokenizer"])
def test_what_is_no_tokenizer(text: str) -> None:
    with pytest.raises(Invalid, match=r"tokenizer\.json"):
        loaded_tokenizer(text, 12, who="a test")


def test_a_vocabulary_without_room_for_the_bytes() -> None:
    with pytest.raises(Invalid, match="at least 260"):
        trained_tokenizer(TEXTS, 259)


def test_columns_that_are_no_text_must_be_left_out_by_name() -> None:
    rows = pa.table({"text": ["a", None], "amount": [1.0, 2.0]})
    with pytest.raises(Invalid, match="amount"):
        text_columns(rows, (), who="a test")
    assert text_columns(rows, ("text",), who="a test") == ("text",)
    assert texts_of(rows, ("text",), who="a test") == ["a", ""]
    with pytest.raises(Invalid, match="amount: double"):
        texts_of(rows, ("amount",), who="a test")


def test_a_text_without_tokens_is_one_padding_that_counts() -> None:
    """A row whose mask is all zeros is divided by zero."""
    found = padded([[], [5, 6]], pad=0)
    assert found["input_ids"].tolist() == [[0, 0], [5, 6]]
    assert found["attention_mask"].tolist() == [[1, 0], [1, 1]]
