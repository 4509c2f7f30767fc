"""Measures what each task gains from batches: ``python -m tests.benchmarks.batching [TASK…]`` prints a table.

``Task.max_batch_size`` rests on these figures. Time depends on a model's sizes and not on its weights, so models have the sizes
of real ones and random weights. CPU seconds of one thread (``OMP_NUM_THREADS=1``) are stable on a busy machine, too.
For a task whose runner has no batches, the inputs of the model for one request are repeated to measure what a batch would gain.
"""

from __future__ import annotations

import asyncio
import importlib
import io
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steps.serving import runner
from steps.serving.queue import RequestQueue
from steps.smoke import difference
from steps.tasks.table import TASKS
from tests.steps.tasks.cases import golden
from tests.tiny_models import VOCABULARY, WORDS, labelled

REQUESTS, SIZES, ROUNDS = 8, (1, 4, 8), 3
WRITTEN = 16  # tokens of each answer of a model that writes
# How many words the texts have. The mixed ones come in any order.
MIXED = [round(10 * 10 ** (index / (REQUESTS - 1))) for index in range(REQUESTS)]
random.Random(7).shuffle(MIXED)
LENGTHS = {"10 words": [10] * REQUESTS, "100 words": [100] * REQUESTS, "10 to 100 words": MIXED}

BASE = {"hidden_size": 768, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 3072}
SMALL = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "intermediate_size": 1536}
TINY = {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3, "intermediate_size": 768}
SIDES = ("encoder", "decoder")
STARTS = {"pad_token_id": 0, "decoder_start_token_id": 0}  # not with the token that ends a text: a random model repeats it


def sides(layers: int, heads: int, inner: int) -> dict[str, int]:
    each = {"layers": layers, "attention_heads": heads, "ffn_dim": inner}
    return {f"{side}_{what}": count for side in SIDES for what, count in each.items()}


@dataclass(frozen=True)
class Trial:
    """A model of transformers' class ``kind`` with a configuration of ``config``, whose defaults are those of a real model.

    ``fields`` go into each request; where a field is ``...``, each request gets a text there. ``processor`` is beside the
    model, or a tokenizer where a text is read.
    """

    task: str
    model: str
    kind: str
    config: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    processor: str = ""
    processing: Mapping[str, Any] = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        import torch
        import transformers

        torch.manual_seed(7)
        config = getattr(transformers, self.config)(**{**labelled(), **self.settings})
        getattr(transformers, self.kind)(config).save_pretrained(folder)
        if self.processor:
            getattr(transformers, self.processor)(**self.processing).save_pretrained(folder)
        if not self.processor or "candidate_labels" in self.fields:
            vocabulary = {word: index for index, word in enumerate(VOCABULARY)}
            names = ["input_ids", "attention_mask", "token_type_ids"][: 3 if self.config == "BertConfig" else 2]
            length = 77 if self.processor else 512
            tokenizer = transformers.BertTokenizer(vocab=vocabulary, model_max_length=length, model_input_names=names)
            tokenizer.save_pretrained(folder)

    def requests(self) -> dict[str, list[dict[str, Any]]]:
        if ... not in self.fields.values():
            request = {**dict.fromkeys(TASKS[self.task].golden.files, photo()), **self.fields}
            return {"640x480 pixels": [request] * REQUESTS}
        return {
            words: [{name: text(count) if value is ... else value for name, value in self.fields.items()} for count in counts]
            for words, counts in LENGTHS.items()
        }


def text(count: int) -> str:
    words = random.Random(count).choices(WORDS, k=count)
    return " ".join([*words[:3], "[MASK]", *words[4:]])  # for fill-mask; to others it is a word


def photo() -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.open(io.BytesIO(golden("image-classification")["image"])).convert("RGB").resize((640, 480)).save(buffer, "JPEG")
    return buffer.getvalue()


WRITES = {"text": ..., "max_new_tokens": WRITTEN}
ViT, Yolos = "ViTImageProcessorPil", "YolosImageProcessorPil"
TRIALS = (
    Trial("text-classification", "BERT 768x6", "BertForSequenceClassification", "BertConfig", BASE, fields={"text": ...}),
    Trial("feature-extraction", "BERT 768x6", "BertModel", "BertConfig", BASE, fields={"text": ..., "pooling": "mean"}),
    Trial("fill-mask", "BERT 768x6", "BertForMaskedLM", "BertConfig", BASE, fields={"text": ...}),
    Trial(
        "question-answering",
        "BERT 768x6",
        "BertForQuestionAnswering",
        "BertConfig",
        {**BASE, "id2label": {0: "start", 1: "end"}},
        fields={"question": "What was busy when Ada arrived?", "context": ...},
    ),
    Trial("token-classification", "BERT 768x6", "BertForTokenClassification", "BertConfig", BASE, fields={"text": ...}),
    Trial("text2text-generation", "T5-small", "T5ForConditionalGeneration", "T5Config", STARTS, fields=WRITES),
    Trial(
        "translation",
        "Marian 512x6+6",
        "MarianMTModel",
        "MarianConfig",
        {"d_model": 512, "pad_token_id": 58100, "decoder_start_token_id": 58100, **sides(6, 8, 2048)},
        fields=WRITES,
    ),
    Trial(
        "summarization",
        "BART 768x6+6",
        "BartForConditionalGeneration",
        "BartConfig",
        {"d_model": 768, **STARTS, **sides(6, 12, 3072)},
        fields=WRITES,
    ),
    Trial(
        "text-generation",
        "GPT-2 768x6",
        "GPT2LMHeadModel",
        "GPT2Config",
        {"n_layer": 6},
        fields={"prompt": ..., "max_new_tokens": WRITTEN},
    ),
    Trial("image-classification", "ViT 768x12", "ViTForImageClassification", "ViTConfig", {}, ViT),
    Trial("image-classification", "ViT 192x12", "ViTForImageClassification", "ViTConfig", TINY, ViT),
    Trial("image-classification", "ResNet-50", "ResNetForImageClassification", "ResNetConfig", {}, ViT),
    Trial("image-feature-extraction", "ViT 384x12", "ViTModel", "ViTConfig", SMALL, ViT, fields={"pooling": "first"}),
    Trial(
        "object-detection",
        "YOLOS 192x12",
        "YolosForObjectDetection",
        "YolosConfig",
        {**TINY, "image_size": [384, 512]},
        Yolos,
        {"size": {"shortest_edge": 384, "longest_edge": 512}},
    ),
    Trial(
        "image-segmentation",
        "SegFormer-b0",
        "SegformerForSemanticSegmentation",
        "SegformerConfig",
        processor="SegformerImageProcessorPil",
    ),
    Trial("depth-estimation", "GLPN 32-256", "GLPNForDepthEstimation", "GLPNConfig", processor="GLPNImageProcessorPil"),
    Trial(
        "zero-shot-image-classification",
        "CLIP-base-32",
        "CLIPModel",
        "CLIPConfig",
        processor="CLIPImageProcessorPil",
        fields={"candidate_labels": ["ship", "crane", "yard"]},
    ),
)


def batched(loaded: Any, requests: Sequence[Any]) -> Callable[[int], object]:
    """Answers all requests as the queue does, at most so many at once; what is answered must not depend on how many."""
    queues = {size: RequestQueue(loaded, size) for size in SIZES}

    async def ask(queue: RequestQueue[Any]) -> list[Any]:
        return await asyncio.gather(*(queue.answer(request) for request in requests))

    def answer(size: int) -> list[Any]:
        return asyncio.run(ask(queues[size]))

    for one, other in zip(answer(1), answer(REQUESTS), strict=True):
        difference(one.model_dump(mode="json"), other.model_dump(mode="json"))
    return answer


def repeated(loaded: Any, request: Any) -> Callable[[int], object]:
    """Hands the model what the runner hands it for one request, as often as there are requests, so many at once."""
    import torch

    pipeline = getattr(loaded, "pipeline", None)
    model, seen = loaded.model if pipeline is None else pipeline.model, []
    hook = model.register_forward_pre_hook(lambda _, __, given: seen.append(given), with_kwargs=True)
    loaded.predict(request)
    hook.remove()
    inputs = {name: value for name, value in seen[0].items() if isinstance(value, torch.Tensor) and value.dim() > 1}

    def forward(size: int) -> None:
        together = {name: torch.cat([value] * size) for name, value in inputs.items()}
        with torch.inference_mode():
            for _ in range(0, REQUESTS, size):
                if model.can_generate():
                    model.generate(**together, do_sample=False, min_new_tokens=WRITTEN, max_new_tokens=WRITTEN)
                else:
                    model(**together)

    return forward


def measure(work: Callable[[int], object]) -> dict[int, tuple[float, float]]:
    """For each size of a batch the medians of CPU and wall milliseconds per request. Sizes take turns."""
    found: dict[int, list[tuple[float, float]]] = {size: [] for size in SIZES}
    for _ in range(ROUNDS):
        for size in SIZES:
            cpu, wall = time.process_time(), time.perf_counter()
            work(size)
            found[size].append((time.process_time() - cpu, time.perf_counter() - wall))
    scale = 1000 / REQUESTS
    return {
        size: (scale * statistics.median(cpu for cpu, _ in times), scale * statistics.median(wall for _, wall in times))
        for size, times in found.items()
    }


def main(names: Sequence[str]) -> None:
    heads = ["task", "model", "request", "measured", *(f"CPU ms {'alone' if n == 1 else f'by {n}'}" for n in SIZES)]
    heads += ["gain by 8", "wall ms alone", "wall ms by 8"]
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    print(f"{REQUESTS} requests, medians of {ROUNDS} rounds, {os.cpu_count()} cores, OMP_NUM_THREADS {threads}\n")
    print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}")
    for trial in TRIALS:
        if names and trial.task not in names:
            continue
        module = importlib.import_module(f"steps.serving.tasks.{TASKS[trial.task].module}")
        with tempfile.TemporaryDirectory() as folder:
            trial.save(Path(folder))
            loaded = module.Runner(Path(folder))
        alone = type(loaded).predict_all is runner.Runner.predict_all
        for words, given in trial.requests().items():
            requests = [module.Request(**fields) for fields in given]
            if alone and len(set(map(len, map(str, given)))) > 1:
                continue  # repeating one says nothing of padding
            times = measure(repeated(loaded, requests[0]) if alone else batched(loaded, requests))
            cells = [trial.task, trial.model, words, "the model" if alone else "the queue"]
            cells += [f"{cpu:.1f}" for cpu, _ in times.values()]
            cells += [f"{times[1][0] / times[8][0]:.2f}", *(f"{times[size][1]:.1f}" for size in (1, 8))]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
