"""Tasks with several kinds of input, such as an image and a text, and ``decision``, which answers typed questions."""

from __future__ import annotations

from steps.core.documents import GoldenRequest
from steps.tasks.architectures import architectures_in
from steps.tasks.base import CHAT_TEMPLATE_FILES, IMAGE_PROCESSOR, PROCESSOR, TOKENIZER, Task

IMAGE = "golden/picture.png"
# The words on golden/document.png with their boxes: left, top, right, bottom in thousandths of its width and height.
DOCUMENT = (
    ("Harbour", (50, 50, 325, 117)),
    ("invoice", (350, 50, 625, 117)),
    ("Crane", (50, 250, 245, 317)),
    ("repair", (270, 250, 505, 317)),
    ("Total", (50, 450, 245, 517)),
    ("1200", (270, 450, 425, 517)),
    ("EUR", (450, 450, 565, 517)),
    ("Due", (50, 650, 165, 717)),
    ("Friday", (190, 650, 425, 717)),
)
# Classes of transformers' table that take no prompt: the text of a request would not be one, or is drawn into the image, or
# comes from text recognition.
WITHOUT_PROMPT = {
    "VisionEncoderDecoderModel",
    "Pix2StructForConditionalGeneration",
    "PPFormulaNetForConditionalGeneration",
    "PI0ForConditionalGeneration",
    "EvollaForProteinText2Text",
    "UdopForConditionalGeneration",
}
IMAGE_TEXT_TO_TEXT = tuple(sorted(architectures_in(("IMAGE_TEXT_TO_TEXT",)) - WITHOUT_PROMPT))

TASKS = (
    Task(
        name="image-text-to-text",
        title="Generate a text from an image and a prompt",
        family="multimodal",
        auto=True,
        architectures=IMAGE_TEXT_TO_TEXT,
        components=(TOKENIZER, PROCESSOR),
        golden=GoldenRequest(fields={"prompt": "What does this picture show?", "max_new_tokens": 16}, files={"image": IMAGE}),
    ),
    Task(
        name="image-to-text",
        title="Caption an image, or read the text in it",
        family="image",
        auto=True,
        architectures=(
            "BlipForConditionalGeneration",
            "Blip2ForConditionalGeneration",
            "GitForCausalLM",
            "Pix2StructForConditionalGeneration",
            "VisionEncoderDecoderModel",
        ),
        components=(TOKENIZER, IMAGE_PROCESSOR),
        golden=GoldenRequest(fields={"max_new_tokens": 16}, files={"image": IMAGE}),
    ),
    Task(
        name="visual-question-answering",
        title="Answer a question about an image",
        family="image",
        auto=True,
        architectures=("ViltForQuestionAnswering", "BlipForQuestionAnswering"),
        components=(TOKENIZER, IMAGE_PROCESSOR),
        golden=GoldenRequest(fields={"question": "What does this picture show?", "top_k": 5}, files={"image": IMAGE}),
    ),
    Task(
        name="document-question-answering",
        title="Answer a question about a page of a document",
        family="image",
        auto=True,
        # Not LayoutLMv2: it needs detectron2, which has to be compiled.
        architectures=("LayoutLMForQuestionAnswering", "LayoutLMv3ForQuestionAnswering", "VisionEncoderDecoderModel"),
        # Donut; TrOCR and captioning models have the same class. Whether a Donut was trained to answer is not in its files.
        nested_model_types={"encoder": "donut-swin"},
        components=(TOKENIZER,),
        golden=GoldenRequest(
            fields={
                "question": "What is the total?",
                "words": [{"text": text, "box": list(box)} for text, box in DOCUMENT],
                "top_k": 3,
            },
            files={"image": "golden/document.png"},
        ),
    ),
    Task(
        name="any-to-any",
        title="Generate a text from a prompt, with an image or audio where the model accepts them",
        family="multimodal",
        auto=True,
        # Not transformers' own table: it also lists models that take audio only and cannot answer the golden request.
        architectures=IMAGE_TEXT_TO_TEXT,
        components=(TOKENIZER, PROCESSOR),
        golden=GoldenRequest(fields={"prompt": "What does this picture show?", "max_new_tokens": 16}, files={"image": IMAGE}),
    ),
    Task(
        name="decision",
        title="Estimate how likely each answer to typed questions about a state is",
        family="text",
        auto=True,
        mappings=("DECISION", "CAUSAL_LM"),
        components=(TOKENIZER,),
        chat_template_files=CHAT_TEMPLATE_FILES | {"decision_template.jinja"},
        golden=GoldenRequest(
            fields={
                "state": "The harbour was busy when the crane stood still. I want my money back.",
                "questions": [
                    {"name": "refund", "type": "noul", "instructions": "Is a refund requested?"},
                    {
                        "name": "tone",
                        "type": "choice",
                        "instructions": "What is the tone?",
                        "criteria": {"calm": "A polite message", "angry": None},
                    },
                    {
                        "name": "urgency",
                        "type": "score",
                        "instructions": "How urgent is it?",
                        "criteria": ["Can wait", "This week", "Today"],
                    },
                ],
            }
        ),
    ),
)
