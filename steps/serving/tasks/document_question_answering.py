"""document-question-answering: a page and a question in, answers out.

There is no text recognition here. Donut reads the picture itself; the LayoutLM family is given the page's words with their
places, as any recognition gives them, and finds the answer among them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .. import runner
from ..fields import OptionalPicture
from ..media.pictures import read_picture
from ..models.loading import load_pipeline
from ..models.max_length import max_length

Place = Annotated[int, Field(ge=0, le=1000)]


class Word(BaseModel):
    """A word and where it stands, in thousandths of the page's width and height."""

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
    image: OptionalPicture = Field(None, description="the page, for models that look at it: JPEG, PNG, WebP, GIF, BMP or TIFF")
    question: Annotated[str, Field(max_length=2000, pattern=r"\S")] = Field(description="a question about the page")
    words: Annotated[list[Word], Field(max_length=2000)] = Field(
        [],
        description="the page's words in reading order with their places in thousandths of its width and height, for models of "
        "the LayoutLM family; a model that reads the picture itself (Donut) passes over them",
    )
    top_k: Annotated[int, Field(ge=1, le=20)] = Field(1, description="how many answers to return at most")


class Reply(BaseModel):
    answer: str
    score: float | None = Field(description="null from a model that writes its answer")
    start: int | None = Field(description="the answer's first word, counted from 0; null from a model that writes its answer")
    end: int | None = Field(description="the answer's last word, counted from 0; null from a model that writes its answer")


class Answer(runner.Answer):
    answers: list[Reply] = Field(description="the best answers, best first; none if the model wrote none")


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        from transformers.pipelines.document_question_answering import DocumentQuestionAnsweringPipeline

        class Pipeline(DocumentQuestionAnsweringPipeline):  # type: ignore[misc]
            def _forward(self, model_inputs: dict[str, Any], **options: Any) -> Any:
                if self.model.config.model_type != "layoutlmv3":
                    return super()._forward(model_inputs, **options)
                # The library hands it the picture by the name that version 2 has for it, and it would not look at it.
                mask = model_inputs["p_mask"]
                found = super()._forward({**model_inputs, "pixel_values": model_inputs.pop("image")}, **options)
                # Behind the words' tokens come those of the picture, which are no answers.
                return {**found, **{name: found[name][:, : len(mask)] for name in ("start_logits", "end_logits")}}

        self._pipeline = load_pipeline("document-question-answering", folder, pipeline_class=Pipeline)
        self._reads = self._pipeline.model_type == "vision_encoder_decoder"
        if self._reads:  # half of what the model can hold is for the question, and half for the answer
            self._most = max_length(self._pipeline.model, "decoder") // 2
            self._pipeline.model.generation_config.max_new_tokens = min(256, self._most)
        else:  # the words get the rest, in pieces that overlap by a half
            self._most = self._pipeline.tokenizer.model_max_length // 4
            if self._pipeline.image_processor is not None:
                self._pipeline.image_processor.apply_ocr = False

    def predict(self, request: Request) -> Answer:
        asked: dict[str, Any] = {"question": request.question}
        if self._reads:
            if request.image is None:
                raise runner.BadInput("image: this model reads the page itself: send a picture of it")
        else:
            if not request.words:
                raise runner.BadInput("words: this model does not read: send the page's words with their places")
            if self._pipeline.image_processor is not None and request.image is None:
                raise runner.BadInput("image: this model looks at the page as well: send a picture of it")
            asked["word_boxes"] = [(word.text, list(word.box)) for word in request.words]
        tokenizer = self._pipeline.tokenizer.backend_tokenizer
        tokenizer.no_truncation()  # the last request's is still set
        if (length := len(tokenizer.encode(request.question, add_special_tokens=False))) > self._most:
            raise runner.BadInput(f"question: {length} tokens; this model reads {self._most} at most")
        found = self._pipeline(
            {**asked, "image": None if request.image is None else read_picture(request.image)}, top_k=request.top_k
        )
        replies = cast("list[dict[str, Any]]", found)
        return Answer(
            answers=[
                Reply(answer=reply["answer"], score=reply.get("score"), start=reply.get("start"), end=reply.get("end"))
                for reply in replies
                if reply["answer"] is not None
            ]
        )
