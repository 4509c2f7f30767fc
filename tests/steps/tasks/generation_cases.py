"""Cases of the tasks that generate a text from a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from steps.tasks.text import SENTENCE
from tests.steps.tasks.cases import Bad, Case, golden
from tests.tiny_models import CARD, VOCABULARY, save_tokenizer

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message.role == 'developer' %}{{ raise_exception('no developers here') }}{% endif %}"
    "<|{{ message.role }}|>{{ message.content }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
MARKS = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
T5_TASKS: dict[str, dict[str, Any]] = {
    "summarization": {"prefix": "summarize: ", "min_length": 5, "max_length": 30, "num_beams": 2, "no_repeat_ngram_size": 2},
    "translation_en_to_de": {"prefix": "translate English to German: "},
    "translation_en_to_fr": {"prefix": "translate English to French: "},
}
LANGUAGES = ("eng_Latn", "deu_Latn", "fra_Latn", "zho_Hans")
# A random model that takes the likeliest token is soon at one that it repeats, or that means nothing.
VARIED = {"no_repeat_ngram_size": 2, "suppress_tokens": [0, 1, 2, 4]}


def save_writer(folder: Path, *, positions: int = 128, chat: bool = True) -> None:
    """A Llama over bytes, and over pairs of them that are frequent in the golden sentence."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=alphabet, special_tokens=["<s>", "</s>", *MARKS], show_progress=False
    )
    tokenizer.train_from_iterator([SENTENCE], trainer)
    saved = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")
    saved.chat_template = CHAT_TEMPLATE if chat else None
    saved.save_pretrained(folder)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(saved), max_position_embeddings=positions, bos_token_id=0, eos_token_id=1, num_key_value_heads=2, **SIZES
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    (folder / "README.md").write_text(CARD)


def save_rewriter(folder: Path, **settings: Any) -> None:
    """A T5 over the golden sentence's words; ``settings`` go to its generation_config.json."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(7)
    config = T5Config(
        vocab_size=len(VOCABULARY),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=0,
        pad_token_id=0,
        eos_token_id=3,
        task_specific_params=T5_TASKS,
    )
    model = T5ForConditionalGeneration(config)
    model.generation_config.update(**VARIED, **settings)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    (folder / "README.md").write_text(CARD)


def save_translator(folder: Path) -> None:
    """An NLLB over the golden sentence's words, with four languages."""
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration, NllbTokenizer

    characters = sorted(set(SENTENCE) - {" "})
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *LANGUAGES, "▁", *characters]
    NllbTokenizer(
        vocab={word: index for index, word in enumerate(words)},
        merges=[],
        extra_special_tokens=list(LANGUAGES),
        model_max_length=256,
    ).save_pretrained(folder)
    torch.manual_seed(7)
    layers = {f"{side}_{what}": 2 for side in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    config = M2M100Config(
        vocab_size=len(words), d_model=32, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=256, **layers
    )
    model = M2M100ForConditionalGeneration(config)
    model.generation_config.update(no_repeat_ngram_size=2, num_beams=2, suppress_tokens=[0, 1, 3, 4], max_length=200)
    model.save_pretrained(folder)
    (folder / "README.md").write_text(CARD)


def go_on(folder: Path) -> dict[str, Any]:
    from transformers import AutoTokenizer, pipeline

    pipe = pipeline("text-generation", model=str(folder), device="cpu")
    request = golden("text-generation")
    found = pipe(request["prompt"], do_sample=False, max_new_tokens=request["max_new_tokens"], return_full_text=False)
    read = AutoTokenizer.from_pretrained(folder)(request["prompt"])["input_ids"]
    counts = {"prompt_tokens": len(read), "new_tokens": request["max_new_tokens"]}
    return {"text": found[0]["generated_text"], "finish_reason": "length", **counts}


def rewrite(folder: Path, prefix: str = "", **settings: Any) -> dict[str, Any]:
    """What the library makes of the golden sentence, that its end was not reached being known."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(prefix + SENTENCE, return_tensors="pt", return_token_type_ids=False)
    if "target" in settings:
        settings["forced_bos_token_id"] = tokenizer.convert_tokens_to_ids(settings.pop("target"))
    model = AutoModelForSeq2SeqLM.from_pretrained(folder)
    [row] = model.generate(**inputs, max_new_tokens=24, do_sample=False, **settings)
    counts = {"prompt_tokens": inputs["input_ids"].shape[1], "new_tokens": len(row) - 1}
    reason = "stop" if row[-1] == model.generation_config.eos_token_id else "length"
    text = tokenizer.decode(row, skip_special_tokens=True)
    return {"text": text, "finish_reason": reason, **counts, "truncated": False}


CASES = (
    Case(
        "text-generation",
        save_writer,
        go_on,
        (
            Bad("prompt", {"prompt": ""}),
            Bad("prompt", {"prompt": "harbour " * 500}),
            Bad("prompt", {"prompt": []}),
            Bad("prompt", {"prompt": [{"role": "ghost", "content": "boo"}]}),
            Bad("prompt", {"prompt": [{"role": "developer", "content": "boo"}]}),
            Bad("max_new_tokens", {"max_new_tokens": 0}),
            Bad("temperature", {"temperature": -1}),
            Bad("stop", {"stop": [""]}),
        ),
    ),
    Case(
        "summarization",
        save_rewriter,
        lambda folder: rewrite(folder, "summarize: ", min_length=5, num_beams=2),
        (Bad("text", {"text": ""}), Bad("num_beams", {"num_beams": 100})),
    ),
    Case(
        "translation",
        save_translator,
        lambda folder: rewrite(folder, target="deu_Latn"),
        (
            Bad("target_language", {"target_language": "deu"}),
            Bad("source_language", {"source_language": "tlh"}),
            Bad("text", {"text": 7}),
        ),
    ),
    Case(
        "text2text-generation",
        save_rewriter,
        rewrite,
        (Bad("text", {"text": ...}), Bad("top_p", {"top_p": 0}), Bad("max_new_tokens", {"max_new_tokens": 10**6})),
    ),
)
