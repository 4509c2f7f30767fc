"""The load step: what is recorded as a model's answer is what ``transformers.pipeline`` says of the folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from steps.core.contract import Context
from steps.core.errors import Reason, SlipwayError
from steps.core.receipts import execute
from steps.fetch import STEP as FETCH
from steps.fetch import FetchInputs
from steps.load import STEP as LOAD
from steps.load import LoadInputs
from steps.sources.supported import SourceKind
from steps.tasks.text import SENTENCE
from tests.steps.frameworks.conftest import Loaded, load
from tests.tiny_models import LABELS, save_text_model

pytestmark = pytest.mark.slow
GOLDEN_PICTURE = Path(__file__).parents[3] / "steps/tasks/golden/picture.png"


def reason(folder: Path, context: Context, *services: str) -> tuple[Reason, str]:
    with pytest.raises(SlipwayError) as caught:
        load(folder, context, *services)
    return caught.value.reason, f"{caught.value.message} {caught.value.hint}"


def test_text_classification_answers_like_the_pipeline(classifier: Loaded, classifier_folder: Path) -> None:
    from transformers import pipeline

    found = pipeline("text-classification", model=str(classifier_folder), device="cpu")(SENTENCE, top_k=5)
    assert classifier.answer == {"labels": found}
    assert {label["label"] for label in found} == set(LABELS)


def test_token_classification_answers_like_the_pipeline(tagger: Loaded, tagger_folder: Path) -> None:
    from transformers import pipeline

    tag = pipeline("token-classification", model=str(tagger_folder), device="cpu", aggregation_strategy="simple")
    found = [{"entity": group.pop("entity_group"), **group, "score": float(group["score"])} for group in tag(SENTENCE)]
    assert tagger.answer == {"entities": found}
    assert found
    for entity in tagger.answer["entities"]:
        assert entity["word"].replace(" ", "") == SENTENCE[entity["start"] : entity["end"]].lower().replace(" ", "")


def test_feature_extraction_answers_like_the_pipeline(encoder: Loaded, encoder_folder: Path) -> None:
    from transformers import pipeline

    found = pipeline("feature-extraction", model=str(encoder_folder), device="cpu")(SENTENCE)
    assert encoder.answer == {"features": found[0]}
    assert len(found[0][0]) == 32


def test_image_classification_answers_like_the_pipeline(viewer: Loaded, vit_folder: Path) -> None:
    from transformers import pipeline

    found = pipeline("image-classification", model=str(vit_folder), device="cpu")(str(GOLDEN_PICTURE), top_k=5)
    assert viewer.answer == {"labels": found}


def test_the_facts_are_those_of_the_weights(each: Loaded, request: pytest.FixtureRequest) -> None:
    from safetensors import safe_open

    facts = each.facts
    weights = next(path for path in [each.folder / "model.safetensors"] if path.exists())
    with safe_open(weights, framework="pt") as file:
        count = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118  # it is no mapping
    assert facts.parameters == count == sum(facts.dtypes.values())
    assert set(facts.dtypes) == {"F32"}
    assert facts.licence == "apache-2.0"
    assert facts.architecture == json.loads((weights.parent / "config.json").read_text())["architectures"][0]


def test_one_model_is_loaded_for_several_tasks(classifier_folder: Path, context: Context) -> None:
    _, facts = load(classifier_folder, context, "text-classification", "feature-extraction")
    assert facts.expected.keys() == {"text-classification", "feature-extraction"}


def test_an_unfit_task_is_refused_with_fitting_ones(encoder_folder: Path, context: Context) -> None:
    found, said = reason(encoder_folder, context, "text-classification")
    assert found is Reason.TASK_MISMATCH
    assert "BertModel" in said
    assert "It can do: feature-extraction" in said


def changed(folder: Path, target: Path, **settings: object) -> Path:
    """A copy of a model whose ``config.json`` says something else."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | settings))
    return target


@pytest.mark.parametrize(
    "settings",
    [{"model_type": "no-such-type"}, {"vocab_size": -1}, {"num_attention_heads": 5}, {"id2label": 7}],
    ids=str,
)
def test_a_model_that_cannot_load_is_refused(
    classifier_folder: Path, tmp_path: Path, context: Context, settings: dict[str, object]
) -> None:
    found, said = reason(changed(classifier_folder, tmp_path / "model", **settings), context, "text-classification")
    assert found is Reason.LOAD_FAILED
    assert "transformers cannot run text-classification on this model: " in said


def test_a_tokenizer_without_limit_truncates_long_texts(classifier_folder: Path, tmp_path: Path) -> None:
    from steps.serving.tasks.text_classification import Request, Runner

    folder = tmp_path / "model"
    shutil.copytree(classifier_folder, folder)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["model_max_length"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    request = Request(text="ship " * 500)
    assert Runner(folder).predict(request) == Runner(classifier_folder).predict(request)


def test_roberta_has_fewer_places_than_positions(tmp_path: Path) -> None:
    from transformers import RobertaConfig, RobertaForSequenceClassification

    from steps.serving.models.max_length import max_length

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = RobertaConfig(vocab_size=20, max_position_embeddings=34, pad_token_id=1, **sizes)
    assert max_length(RobertaForSequenceClassification(config), "encoder") == 32


def test_half_precision_weights_are_found_by_variant(tmp_path: Path, context: Context) -> None:
    folder = save_text_model("BertModel", tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "model.fp16.safetensors")
    fetch = FetchInputs(source_kind=SourceKind.UPLOAD, source=str(folder), include=("model.fp16.safetensors",))
    lock = execute(FETCH, fetch, context).outputs.lock
    facts = execute(LOAD, LoadInputs(lock=lock, services=("feature-extraction",)), context)
    assert facts.outputs.parameters > 0
