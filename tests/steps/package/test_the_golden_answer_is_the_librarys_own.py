"""load: what is written down as a model's answer is what ``transformers.pipeline`` says of the folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.core.contract import Context
from steps.core.digest import canonical_json
from steps.core.documents import ModelFacts
from steps.core.errors import ExitCode, Reason, SlipwayError
from steps.core.receipts import execute
from steps.fetch import STEP as FETCH
from steps.fetch import FetchInputs
from steps.frameworks.transformers import licence
from steps.load import STEP as LOAD
from steps.load import LoadInputs
from steps.sources.base import SourceKind
from steps.tasks.text import SENTENCE
from tests.steps.package.conftest import Made
from tests.tiny_models import LABELS, save_text_model

GOLDEN_PICTURE = Path(__file__).parents[3] / "steps/tasks/golden/picture.png"


def facts_of(made: Made) -> ModelFacts:
    return made.context.read_document(made.facts, ModelFacts)


def answer_of(made: Made) -> dict[str, Any]:
    return facts_of(made).expected[made.service].answer


def load(folder: Path, context: Context, *services: str) -> ModelFacts:
    """Fetch a folder without asking which tasks it can do, and load it."""
    lock = execute(FETCH, FetchInputs(source_kind=SourceKind.UPLOAD, source=str(folder)), context).outputs.lock
    return context.read_document(execute(LOAD, LoadInputs(lock=lock, services=services), context).outputs.facts, ModelFacts)


def reason(folder: Path, context: Context, *services: str) -> tuple[Reason, str]:
    with pytest.raises(SlipwayError) as caught:
        load(folder, context, *services)
    return caught.value.reason, f"{caught.value.message} {caught.value.hint}"


def test_text_classification(classifier: Made, classifier_folder: Path) -> None:
    from transformers import pipeline

    found = pipeline("text-classification", model=str(classifier_folder), device="cpu")(SENTENCE, top_k=5)
    assert answer_of(classifier) == {"labels": found}
    assert {label["label"] for label in found} == set(LABELS)


def test_token_classification(tagger: Made, tagger_folder: Path) -> None:
    from transformers import pipeline

    tag = pipeline("token-classification", model=str(tagger_folder), device="cpu", aggregation_strategy="simple")
    found = [{"entity": group.pop("entity_group"), **group, "score": float(group["score"])} for group in tag(SENTENCE)]
    assert answer_of(tagger) == {"entities": found}
    assert found
    for entity in answer_of(tagger)["entities"]:
        assert entity["word"].replace(" ", "") == SENTENCE[entity["start"] : entity["end"]].lower().replace(" ", "")


def test_feature_extraction(encoder: Made, encoder_folder: Path) -> None:
    from transformers import pipeline

    found = pipeline("feature-extraction", model=str(encoder_folder), device="cpu")(SENTENCE)
    assert answer_of(encoder) == {"features": found[0]}
    assert len(found[0][0]) == 32


def test_image_classification(viewer: Made, vit_folder: Path) -> None:
    from transformers import pipeline

    found = pipeline("image-classification", model=str(vit_folder), device="cpu")(str(GOLDEN_PICTURE), top_k=5)
    assert answer_of(viewer) == {"labels": found}


def test_the_facts_are_those_of_the_weights(made: Made, request: pytest.FixtureRequest) -> None:
    from safetensors import safe_open

    facts = facts_of(made)
    weights = next(path for path in [Path(made.fetched.source) / "model.safetensors"] if path.exists())
    with safe_open(weights, framework="pt") as file:
        count = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118  # it is no mapping
    assert facts.parameters == count == sum(facts.dtypes.values())
    assert set(facts.dtypes) == {"F32"}
    assert facts.licence == "apache-2.0"
    assert facts.architecture == json.loads((weights.parent / "config.json").read_text())["architectures"][0]


def test_one_model_is_asked_for_several_tasks_at_once(classifier_folder: Path, context: Context) -> None:
    facts = load(classifier_folder, context, "text-classification", "feature-extraction")
    assert facts.expected.keys() == {"text-classification", "feature-extraction"}


def test_a_model_is_refused_for_a_task_that_it_cannot_do_and_told_which_it_can(encoder_folder: Path, context: Context) -> None:
    found, said = reason(encoder_folder, context, "text-classification")
    assert found is Reason.TASK_MISMATCH
    assert "BertModel" in said
    assert "It can do: feature-extraction." in said


def changed(folder: Path, target: Path, **settings: Any) -> Path:
    """A copy of a model whose ``config.json`` says something else."""
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | settings))
    return target


@pytest.mark.parametrize(
    "settings",
    [{"hidden_size": 48}, {"model_type": "no-such-type"}, {"vocab_size": -1}, {"num_attention_heads": 5}, {"id2label": 7}],
    ids=str,
)
def test_a_model_that_the_library_cannot_load_is_refused_with_its_words(
    classifier_folder: Path, tmp_path: Path, context: Context, settings: dict[str, Any]
) -> None:
    found, said = reason(changed(classifier_folder, tmp_path / "model", **settings), context, "text-classification")
    assert found is Reason.LOAD_FAILED
    assert "transformers cannot run text-classification on this model: " in said


def test_a_tokenizer_that_names_no_limit_still_cuts_off_what_the_model_cannot_hold(
    classifier_folder: Path, tmp_path: Path
) -> None:
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


def test_half_precision_weights_alone_are_found_by_their_variant(tmp_path: Path, context: Context) -> None:
    folder = save_text_model("BertModel", tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "model.fp16.safetensors")
    fetch = FetchInputs(source_kind=SourceKind.UPLOAD, source=str(folder), include=("model.fp16.safetensors",))
    lock = execute(FETCH, fetch, context).outputs.lock
    facts = execute(LOAD, LoadInputs(lock=lock, services=("feature-extraction",)), context)
    assert facts.outputs.parameters > 0


FRONT = st.text(alphabet="license: aApache\n-'\"&*!{}[]\\u0d8x2026-13,", max_size=80)


@given(FRONT | st.text())
def test_any_model_card_gives_a_licence_that_can_be_a_label(tmp_path_factory: pytest.TempPathFactory, front: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "card"
    folder.mkdir(exist_ok=True)
    (folder / "README.md").write_bytes(f"---\n{front}\n---\n".encode())
    found = licence(folder)
    assert len(found) <= 100
    assert found.isprintable()
    canonical_json(found)


@pytest.mark.parametrize(
    ("front", "expected"),
    [
        ("license: mit", "mit"),
        ("tags: [a]\r\nlicense: mit\r", "mit"),
        ('license: "a\\0b\\ud800c"', "abc"),
        ("license: mit\ndate: 2026-13-45", ""),
        ("license: [mit, other]", ""),
        ("[" * 3000, ""),
        ("a: b: c", ""),
    ],
)
def test_a_licence_is_read_from_the_cards_front_matter(tmp_path: Path, front: str, expected: str) -> None:
    (tmp_path / "README.md").write_bytes(f"---\n{front}\n---\nText\n".encode())
    assert licence(tmp_path) == expected


def test_a_model_without_a_card_has_no_licence(tmp_path: Path) -> None:
    assert licence(tmp_path) == ""


def test_sigterm_while_the_library_loads_is_no_failure_of_the_model(classifier: Made, tmp_path: Path) -> None:
    made = classifier.copied_to(tmp_path / "store")
    shutil.rmtree(made.root / "receipts/load")
    command = [sys.executable, "-m", "steps.load", "--store", str(made.root), "--run", "it", "--progress", "json"]
    command += ["--lock", made.lock, "--services", made.service]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=dict(os.environ)
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "Importing torch" in line:
                process.send_signal(signal.SIGTERM)
                break
        said = process.stderr.read()
    assert process.returncode == ExitCode.TERMINATED
    assert "Traceback" not in said
    assert json.loads(said.splitlines()[-1])["reason"] == Reason.TERMINATED
    assert json.loads((made.root / "runs/it/load.json").read_text())["failure"]["reason"] == Reason.TERMINATED
    assert list((made.root / "tmp").iterdir()) == []
