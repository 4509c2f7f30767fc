"""Candidate labels of the zero-shot tasks: the texts made of them must fit into the model, as the library cuts nothing off."""

from __future__ import annotations

from collections.abc import Sequence

from ..runner import BadInput
from .library import Pipeline


def label_texts(labels: Sequence[str], template: str) -> dict[str, str]:
    """The label of each text that ``template`` makes: ``{}`` in it stands for the label. Raises ``BadInput`` without one.

    The library would use ``str.format``, in which a client could ask for a billion spaces.
    """
    if "{}" not in template:
        raise BadInput("hypothesis_template: put {} where the label belongs")
    return {template.replace("{}", label): label for label in labels}


def check_label_lengths(pipeline: Pipeline, texts: Sequence[str], field: str = "candidate_labels") -> None:
    """Raise ``BadInput`` if a text has more tokens than the pipeline's model has positions for."""
    config = pipeline.model.config
    sources = [config, getattr(config, "text_config", None)]
    limits = [getattr(source, name, None) for source in sources for name in ("max_position_embeddings", "max_text_len")]
    limit = min([pipeline.tokenizer.model_max_length, *(each for each in limits if isinstance(each, int))])
    for index, tokens in enumerate(pipeline.tokenizer(list(texts), verbose=False)["input_ids"]):
        if len(tokens) > limit:
            raise BadInput(f"{field}: the text for label {index} has {len(tokens)} tokens; this model reads {limit} at most")
