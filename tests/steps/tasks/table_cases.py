"""The case of the task that takes a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.steps.tasks.cases import Bad, Case, golden
from tests.steps.tasks.text_cases import pipe
from tests.tiny_models import CARD

QUESTION = ("how", "many", "ships", "are", "in", "the", "harbour", "of", "hamburg")
WORDS = (*QUESTION, "country", "built", "germany", "oslo", "norway", "porto", "portugal", "may")
VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "[EMPTY]",
    "?",
    *WORDS,
    *"0123456789",
    *(f"##{n}" for n in range(10)),
]
LENGTH = 64


def save_table_model(folder: Path, **settings: Any) -> Path:
    """A tiny TAPAS that aggregates. Its bias makes it choose some of a column's cells."""
    import torch
    from transformers import TapasConfig, TapasForQuestionAnswering, TapasTokenizer

    torch.manual_seed(3)
    words = folder / "words.txt"
    words.write_text("\n".join(VOCABULARY))
    TapasTokenizer(str(words), model_max_length=LENGTH).save_pretrained(folder)
    words.unlink()
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = TapasConfig(
        **{
            "vocab_size": len(VOCABULARY),
            "max_position_embeddings": LENGTH,
            "type_vocab_sizes": [3, 16, 16, 2, 16, 16, 10],
            "initializer_range": 0.5,
            "num_aggregation_labels": 4,
            "aggregation_labels": {0: "NONE", 1: "SUM", 2: "AVERAGE", 3: "COUNT"},
            "no_aggregation_label_index": 0,
            **sizes,
            **settings,
        }
    )
    model = TapasForQuestionAnswering(config)
    torch.nn.init.constant_(model.output_bias, -0.6)
    model.save_pretrained(folder)
    (folder / "README.md").write_text(CARD)
    return folder


def ask(folder: Path) -> dict[str, Any]:
    request = golden("table-question-answering")
    names, rows = request["table"]["columns"], request["table"]["rows"]
    columns = {
        name: ["" if cell is None else str(cell) for cell in cells]
        for name, *cells in zip(names, *rows, strict=True)  # on its side
    }
    found = pipe("table-question-answering", folder)(table=columns, query=request["question"])
    places = found["coordinates"]
    assert places, "no cell is chosen"
    return {
        "answer": found["answer"],
        "cells": [
            {"text": text, "row": row, "column": column} for text, (row, column) in zip(found["cells"], places, strict=True)
        ],
        "aggregator": found["aggregator"],
        "rows_read": len(rows),
    }


CASES = (
    Case(
        "table-question-answering",
        save_table_model,
        ask,
        (
            Bad("question", {"question": ""}),
            Bad("question", {"question": ...}),
            Bad("table", {"table": ...}),
            Bad("table", {"table": {}}),
            Bad("table", {"table": "Harbour"}),
            Bad("table", {"table": {"columns": ["Harbour"], "rows": []}}),
            Bad("table", {"table": {"columns": ["Harbour"], "rows": [["Oslo", "Norway"]]}}),
            Bad("table", {"table": {"Harbour": ["Oslo", "Porto"], "Country": ["Norway"]}}),
            Bad("table", {"table": {"Harbour": [["Oslo"]]}}),
            Bad("table", {"table": {str(number): [1] for number in range(17)}}),
            Bad("table", {"question": "ships " * 70}),
        ),
    ),
)
