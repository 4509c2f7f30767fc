"""Tasks that take a picture and a text together, or anything, and one that weighs answers to questions."""

from __future__ import annotations

from steps.core.documents import GoldenRequest
from steps.tasks.architectures import classes_of
from steps.tasks.base import IMAGE_PROCESSOR, PROCESSOR, TEMPLATE_FILES, TOKENIZER, Task

PICTURE = "golden/picture.png"
# What stands on golden/document.png, with the places of the words in thousandths of its width and height.
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
# They are in the table, but no text of a user goes with their picture: it is no prompt that they take, or it is written into
# the picture, or it needs text recognition.
WITHOUT_PROMPT = {
    "VisionEncoderDecoderModel",
    "Pix2StructForConditionalGeneration",
    "PPFormulaNetForConditionalGeneration",
    "PI0ForConditionalGeneration",
    "EvollaForProteinText2Text",
    "UdopForConditionalGeneration",
}
PROMPTED = tuple(sorted(classes_of(("IMAGE_TEXT_TO_TEXT",)) - WITHOUT_PROMPT))

TASKS = (
    Task(
        name="image-text-to-text",
        title="What a model writes to a picture and a text about it",
        family="multimodal",
        service="image_text_to_text",
        classes=PROMPTED,
        needs=(TOKENIZER, PROCESSOR),
        golden=GoldenRequest(fields={"prompt": "What does this picture show?", "max_new_tokens": 16}, files={"image": PICTURE}),
    ),
    Task(
        name="image-to-text",
        title="What a model writes about a picture: a caption, or the text in it",
        family="image",
        service="image_to_text",
        classes=(
            "BlipForConditionalGeneration",
            "Blip2ForConditionalGeneration",
            "GitForCausalLM",
            "Pix2StructForConditionalGeneration",
            "VisionEncoderDecoderModel",
        ),
        needs=(TOKENIZER, IMAGE_PROCESSOR),
        golden=GoldenRequest(fields={"max_new_tokens": 16}, files={"image": PICTURE}),
    ),
    Task(
        name="visual-question-answering",
        title="Answers to a question about a picture",
        family="image",
        service="visual_question_answering",
        classes=("ViltForQuestionAnswering", "BlipForQuestionAnswering"),
        needs=(TOKENIZER, IMAGE_PROCESSOR),
        golden=GoldenRequest(fields={"question": "What does this picture show?", "top_k": 5}, files={"image": PICTURE}),
    ),
    Task(
        name="document-question-answering",
        title="Answers to a question about a page",
        family="image",
        service="document_question_answering",
        # Version 2 of LayoutLM needs a package that has to be compiled.
        classes=("LayoutLMForQuestionAnswering", "LayoutLMv3ForQuestionAnswering", "VisionEncoderDecoderModel"),
        # Donut. TrOCR and captioners are of the same class. (Whether a Donut was taught to answer is not in its files.)
        inside={"encoder": "donut-swin"},
        needs=(TOKENIZER,),
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
        title="What a model answers to a text, with a picture or a sound beside it if it takes them",
        family="multimodal",
        service="any_to_any",
        # transformers' table holds models that only hear as well; they could not answer the golden request.
        classes=PROMPTED,
        needs=(TOKENIZER, PROCESSOR),
        golden=GoldenRequest(fields={"prompt": "What does this picture show?", "max_new_tokens": 16}, files={"image": PICTURE}),
    ),
    Task(
        name="decision",
        title="How likely each answer is to typed questions about a state",
        family="text",
        service="decision",
        mappings=("DECISION", "CAUSAL_LM"),
        needs=(TOKENIZER,),
        template=TEMPLATE_FILES | {"decision_template.jinja"},
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
