"""document-question-answering: a page and a question in, answers out.

There is no text recognition here. Donut reads the picture itself; a model of the LayoutLM family gets the page's words with
their places, as text recognition returns them, and finds the answer among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .. import runner
from ..fields import OptionalPicture
from ..media.pictures import read_picture
from ..models.loading import load_pipeline
from ..models.max_length import max_length

if TYPE_CHECKING:
    from torch import Tensor

Place = Annotated[int, Field(ge=0, le=1000)]


class Word(BaseModel):
    """A word and its place, in thousandths of the page's width and height."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    text: Annotated[str, Field(min_length=1, max_length=100)]
    box: tuple[Place, Place, Place, Place] = Field(description="left, top, right, bottom")

    @field_validator("box")
    @classmethod
    def _in_order(cls, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        if box[0] > box[2] or box[1] > box[3]:
            raise ValueError("the box is left, top, right, bottom: left is not beyond right, nor top below bottom")
        return box


class Request(runner.Request):
    """A question about a page."""

    image: OptionalPicture = Field(
        None, description="the page, for models that read pictures: JPEG, PNG, WebP, GIF, BMP or TIFF"
    )
    question: Annotated[str, Field(max_length=2000, pattern=r"\S")] = Field(description="a question about the page")
    words: Annotated[list[Word], Field(max_length=2000)] = Field(
        [],
        description="the page's words in reading order with their places in thousandths of its width and height, for models of "
        "the LayoutLM family; a model that reads the picture itself (Donut) ignores them",
    )
    top_k: Annotated[int, Field(ge=1, le=20)] = Field(1, description="how many answers to return at most")


class Reply(BaseModel):
    """One answer."""

    answer: str
    score: float | None = Field(description="null from a model that writes its answer")
    start: int | None = Field(description="the answer's first word, counted from 0; null from a model that writes its answer")
    end: int | None = Field(description="the answer's last word, counted from 0; null from a model that writes its answer")


class Answer(runner.Answer):
    """The answers to a question."""

    answers: list[Reply] = Field(description="the best answers, best first; none if the model wrote none")


class _Found(TypedDict, total=False):
    """An answer as the pipeline returns it; a model that writes its answer gives nothing else."""

    answer: str | None
    score: float
    start: int
    end: int


class Runner(runner.Runner[Request, Answer]):
    """A model that reads pages, by transformers' pipeline."""

    def __init__(self, folder: Path) -> None:
        from transformers.pipelines.document_question_answering import DocumentQuestionAnsweringPipeline

        class Pipeline(DocumentQuestionAnsweringPipeline):  # type: ignore[misc]
            def _forward(self, model_inputs: dict[str, Tensor], **options: object) -> Mapping[str, Tensor]:
                found: Mapping[str, Tensor]
                if self.model.config.model_type != "layoutlmv3":
                    found = super()._forward(model_inputs, **options)
                    return found
                # The library passes the picture under the name that version 2 has for it, which version 3 ignores.
                mask = model_inputs["p_mask"]
                found = super()._forward({**model_inputs, "pixel_values": model_inputs.pop("image")}, **options)
                # After the words' tokens come those of the picture, which cannot be answers.
                return {**found, **{name: found[name][:, : len(mask)] for name in ("start_logits", "end_logits")}}

        self.pipeline = load_pipeline("document-question-answering", folder, pipeline_class=Pipeline)
        self._reads_picture = self.pipeline.model_type == "vision_encoder_decoder"
        if self._reads_picture:  # half of what the model can hold is for the question, and half for the answer
            self._max_question = max_length(self.pipeline.model, "decoder") // 2
            self.pipeline.model.generation_config.max_new_tokens = min(256, self._max_question)
        else:  # the words get the rest, in windows that overlap by a half
            self._max_question = self.pipeline.tokenizer.model_max_length // 4
            if self.pipeline.image_processor is not None:
                self.pipeline.image_processor.apply_ocr = False

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` if what this model needs is missing, or the question is too long."""
        inputs: dict[str, object] = {"question": request.question}
        if self._reads_picture:
            if request.image is None:
                raise runner.BadInput("image: this model reads a picture of the page: send one")
        else:
            if not request.words:
                raise runner.BadInput("words: this model does not recognize text: send the page's words with their places")
            if self.pipeline.image_processor is not None and request.image is None:
                raise runner.BadInput("image: this model reads a picture of the page as well: send one")
            inputs["word_boxes"] = [(word.text, list(word.box)) for word in request.words]
        tokenizer = self.pipeline.tokenizer.backend_tokenizer
        tokenizer.no_truncation()  # the truncation of the last request is still set
        if (length := len(tokenizer.encode(request.question, add_special_tokens=False))) > self._max_question:
            raise runner.BadInput(f"question: {length} tokens; this model reads {self._max_question} at most")
        replies: list[_Found] = self.pipeline(
            {**inputs, "image": None if request.image is None else read_picture(request.image)}, top_k=request.top_k
        )
        return Answer(
            answers=[
                Reply(answer=reply["answer"], score=reply.get("score"), start=reply.get("start"), end=reply.get("end"))
                for reply in replies
                if reply["answer"] is not None
            ]
        )
