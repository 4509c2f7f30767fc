"""decision: a state and typed questions about it in, a probability for each option of each question out.

The types are those of transformers' pipeline: ``choice`` among named options, ``score`` on a scale whose levels are
described from the lowest up, and ``noul``, which is or is not so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from .. import runner
from ..fields import Text
from ..models.generation import check_tokens
from ..models.loading import load_pipeline
from ..models.max_length import max_length

MAX_STATE = 100_000  # characters of its JSON
MAX_DEPTH = 20
# With these the library marks where the model is read; it makes plain text of them in texts, but not in an object's names.
MARKS = ("<|mark|>", "<|split|>")
Words = Annotated[str, Field(min_length=1, max_length=5000)]
Option = Annotated[str, Field(min_length=1, max_length=200)]


class Question(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Option = Field(description="what the answer is called; each question has a name of its own")
    instructions: Words = Field(description="the question itself")


class Choice(Question):
    """Which option fits best?"""

    type: Literal["choice"]
    criteria: dict[Option, Words | None] = Field(
        min_length=2, max_length=26, description="the options, each with a description or null"
    )


class Score(Question):
    """How much?"""

    type: Literal["score"]
    criteria: list[Words] = Field(min_length=2, max_length=26, description="what each level means, the lowest first")


class Noul(Question):
    """Is it so?"""

    type: Literal["noul"]
    criteria: dict[Literal["true", "false"], Words | None] | None = Field(
        None, description="what the two answers mean, where that needs saying"
    )


class Request(runner.Request):
    state: Text | dict[str, JsonValue] = Field(description="what is to be decided about: a text, or an object of JSON")
    questions: list[Annotated[Choice | Score | Noul, Field(discriminator="type")]] = Field(
        min_length=1, max_length=16, description="what to decide"
    )

    @field_validator("state")
    @classmethod
    def _bounded(cls, state: Any) -> Any:
        if _depth(state) > MAX_DEPTH or len(text := json.dumps(state)) > MAX_STATE:
            raise ValueError(f"up to {MAX_STATE} characters of JSON are read, nested up to {MAX_DEPTH} deep")
        if not isinstance(state, str) and any(mark in text for mark in MARKS):
            raise ValueError(f"an object cannot hold {' or '.join(MARKS)}")
        return state

    @field_validator("questions")
    @classmethod
    def _each_has_a_name(cls, questions: list[Any]) -> list[Any]:
        if len({question.name for question in questions}) < len(questions):
            raise ValueError("two questions have the same name")
        return questions


class Probability(BaseModel):
    option: str = Field(description="a choice's name, a level's number counted from 0, or true and false")
    probability: float


class Decided(BaseModel):
    name: str
    type: Literal["choice", "score", "noul"]
    decision: str = Field(description="the likeliest option")
    confidence: float = Field(description="0 where the options are equally likely, 1 where there is no doubt")
    score: float | None = Field(description="the mean level by probability; null unless the type is score")
    probabilities: list[Probability] = Field(description="of all options, in the question's order; true before false")


class Answer(runner.Answer):
    answers: list[Decided] = Field(description="one for each question, in their order")


class Runner(runner.Runner[Request, Answer]):
    def __init__(self, folder: Path) -> None:
        self._pipeline = load_pipeline("decision", folder)
        self._positions = max_length(self._pipeline.model, "decoder")

    def predict(self, request: Request) -> Answer:
        self._check_options(request.questions)
        questions = {question.name: question.model_dump(exclude={"name"}) for question in request.questions}
        try:
            prepared = self._pipeline.preprocess({"state": request.state, "questions": questions})
        except ValueError as error:  # more options than the model has labels for
            raise runner.BadInput(f"questions: {' '.join(str(error).split())[:300]}") from None
        longest = max(inputs["input_ids"].shape[1] for inputs, _ in prepared["prompts"])
        if longest > self._positions:
            raise runner.BadInput(
                f"state: {longest} tokens together with a question; this model reads {self._positions} at most"
            )
        for inputs, _ in prepared["prompts"]:
            check_tokens(self._pipeline.model, inputs["input_ids"][0].tolist(), "state")
        found = self._pipeline.postprocess(self._pipeline.forward(prepared))
        return Answer(answers=[_decided(question, found[question.name]) for question in request.questions])

    def _check_options(self, questions: Sequence[Choice | Score | Noul]) -> None:
        """A model with a head for decisions has a row for each option, from its type's first row on."""
        config = self._pipeline.model.config
        for question in questions:
            if isinstance(question, Noul) or not hasattr(config, "num_verbalizers"):
                continue
            most = config.num_verbalizers - config.offsets[question.type]
            if len(question.criteria) > most:
                raise runner.BadInput(f"questions: {question.name}: this model knows up to {most} options of a {question.type}")


def _depth(value: Any, above: int = 0) -> int:
    """How deep dictionaries and lists are nested; no further than one beyond the limit."""
    if above > MAX_DEPTH or not isinstance(value, dict | list):
        return above
    return max((_depth(each, above + 1) for each in (value.values() if isinstance(value, dict) else value)), default=above + 1)


def _decided(question: Choice | Score | Noul, found: Mapping[str, Any]) -> Decided:
    if question.type == "noul":
        chances = {"true": found["noul"], "false": 1 - found["noul"]}
        confidence = abs(2 * found["noul"] - 1)
    else:
        names = question.criteria if question.type == "choice" else map(str, range(len(question.criteria)))
        chances = {name: found["probabilities"][name] for name in names}
        confidence = found["confidence"]
    return Decided(
        name=question.name,
        type=question.type,
        decision=max(chances, key=lambda name: chances[name]),
        confidence=confidence,
        score=found.get("score"),
        probabilities=[Probability(option=name, probability=chance) for name, chance in chances.items()],
    )
