"""decision: a state and typed questions about it in, a probability for each option of each question out.

The types are those of transformers' pipeline: ``choice`` among named options, ``score`` on a scale whose levels are
described from the lowest up, and ``noul`` for a statement that is true or false.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypedDict

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from .. import runner
from ..fields import Text
from ..models.generation import check_tokens
from ..models.loading import load_pipeline
from ..models.max_length import max_length

MAX_STATE = 100_000  # characters of its JSON
MAX_DEPTH = 20
# The library marks with these where the model's output is read. It escapes them in texts, but not in the names of an object.
LIBRARY_MARKS = ("<|mark|>", "<|split|>")
Description = Annotated[str, Field(min_length=1, max_length=5000)]
Option = Annotated[str, Field(min_length=1, max_length=200)]


class Question(BaseModel):
    """What the questions of all types have."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Option = Field(description="the name of the answer; each question has its own")
    instructions: Description = Field(description="the question itself")


class Choice(Question):
    """A question for the option that fits best."""

    type: Literal["choice"]
    criteria: dict[Option, Description | None] = Field(
        min_length=2, max_length=26, description="the options, each with a description or null"
    )


class Score(Question):
    """A question for a level on a scale."""

    type: Literal["score"]
    criteria: list[Description] = Field(min_length=2, max_length=26, description="what each level means, the lowest first")


class Noul(Question):
    """A question whether a statement is true."""

    type: Literal["noul"]
    criteria: dict[Literal["true", "false"], Description | None] | None = Field(
        None, description="what the two answers mean, if that is not clear"
    )


class Request(runner.Request):
    """A state, and questions about it."""

    state: Text | dict[str, JsonValue] = Field(description="what to decide about: a text or a JSON object")
    questions: list[Annotated[Choice | Score | Noul, Field(discriminator="type")]] = Field(
        min_length=1, max_length=16, description="what to decide"
    )

    @field_validator("state")
    @classmethod
    def _bounded(cls, state: str | dict[str, JsonValue]) -> str | dict[str, JsonValue]:
        if _depth(state) > MAX_DEPTH or len(text := json.dumps(state)) > MAX_STATE:
            raise ValueError(f"up to {MAX_STATE} characters of JSON are read, nested up to {MAX_DEPTH} deep")
        if not isinstance(state, str) and any(mark in text for mark in LIBRARY_MARKS):
            raise ValueError(f"an object cannot hold {' or '.join(LIBRARY_MARKS)}")
        return state

    @field_validator("questions")
    @classmethod
    def _unique_names(cls, questions: list[Choice | Score | Noul]) -> list[Choice | Score | Noul]:
        if len({question.name for question in questions}) < len(questions):
            raise ValueError("two questions have the same name")
        return questions


class Probability(BaseModel):
    """How likely one option is."""

    option: str = Field(description="a choice's name, a level's number counted from 0, or true and false")
    probability: float


class Decision(BaseModel):
    """The answer to one question."""

    name: str
    type: Literal["choice", "score", "noul"]
    decision: str = Field(description="the most likely option")
    confidence: float = Field(description="0 if all options are equally likely, 1 if one is certain")
    score: float | None = Field(description="the mean level by probability; null unless the type is score")
    probabilities: list[Probability] = Field(description="of all options, in the question's order; true before false")


class Answer(runner.Answer):
    """The answers to all questions."""

    answers: list[Decision] = Field(description="one for each question, in their order")


class Runner(runner.Runner[Request, Answer]):
    """A model that decides, by the steps of transformers' pipeline."""

    def __init__(self, folder: Path) -> None:
        self.pipeline = load_pipeline("decision", folder)
        self._max_length = max_length(self.pipeline.model, "decoder")

    def predict(self, request: Request) -> Answer:
        """Answer one request. Raises ``BadInput`` for what is too long, or has more options than the model knows."""
        self._check_options(request.questions)
        questions = {question.name: question.model_dump(exclude={"name"}) for question in request.questions}
        try:
            prepared = self.pipeline.preprocess({"state": request.state, "questions": questions})
        except ValueError as error:  # more options than the model has labels for
            raise runner.BadInput(f"questions: {' '.join(str(error).split())[:300]}") from None
        longest = max(inputs["input_ids"].shape[1] for inputs, _ in prepared["prompts"])
        if longest > self._max_length:
            raise runner.BadInput(
                f"state: {longest} tokens together with a question; this model reads {self._max_length} at most"
            )
        for inputs, _ in prepared["prompts"]:
            check_tokens(self.pipeline.model, inputs["input_ids"][0].tolist(), "state")
        found = self.pipeline.postprocess(self.pipeline.forward(prepared))
        return Answer(answers=[_to_decision(question, found[question.name]) for question in request.questions])

    def _check_options(self, questions: Sequence[Choice | Score | Noul]) -> None:
        """Raise ``BadInput`` for more options than a head for decisions has outputs for in a question's type."""
        config = self.pipeline.model.config
        for question in questions:
            if isinstance(question, Noul) or not hasattr(config, "num_verbalizers"):
                continue
            most = config.num_verbalizers - config.offsets[question.type]
            if len(question.criteria) > most:
                raise runner.BadInput(f"questions: {question.name}: this model knows up to {most} options of a {question.type}")


def _depth(value: object, above: int = 0) -> int:
    """How deep dictionaries and lists are nested; counted up to one more than the limit."""
    if above > MAX_DEPTH or not isinstance(value, dict | list):
        return above
    return max((_depth(each, above + 1) for each in (value.values() if isinstance(value, dict) else value)), default=above + 1)


class _Found(TypedDict, total=False):
    """An answer as the pipeline returns it: ``noul`` for that type, else the others; ``score`` for that type only."""

    noul: float
    probabilities: dict[str, float]
    confidence: float
    score: float


def _to_decision(question: Choice | Score | Noul, found: _Found) -> Decision:
    if question.type == "noul":
        chances = {"true": found["noul"], "false": 1 - found["noul"]}
        confidence = abs(2 * found["noul"] - 1)
    else:
        names = question.criteria if question.type == "choice" else map(str, range(len(question.criteria)))
        chances = {name: found["probabilities"][name] for name in names}
        confidence = found["confidence"]
    return Decision(
        name=question.name,
        type=question.type,
        decision=max(chances, key=lambda name: chances[name]),
        confidence=confidence,
        score=found.get("score"),
        probabilities=[Probability(option=name, probability=chance) for name, chance in chances.items()],
    )
