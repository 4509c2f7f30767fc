"""What the API server answers, as a reason with a hint."""

from __future__ import annotations

import pytest

from crd.kubernetes_errors import KubernetesError, translate_errors
from steps.core.errors import Reason
from tests.crd.fake_api import refusal


def error_of(code: int, body: str | None = None) -> KubernetesError:
    """The error for an answer with this status code and body."""
    answer = refusal(code, "Sorry")
    if body is not None:
        answer.body = body
    with pytest.raises(KubernetesError) as caught, translate_errors("https://api.example"):
        raise answer
    assert caught.value.status == code
    return caught.value


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (400, Reason.INVALID_MANIFEST),
        (401, Reason.ACCESS_DENIED),
        (403, Reason.ACCESS_DENIED),
        (404, Reason.MISSING_DEPENDENCY),
        (409, Reason.PUBLISH_CONFLICT),
        (418, Reason.SOURCE_PROTOCOL),
        (422, Reason.INVALID_MANIFEST),
        (429, Reason.SOURCE_BUSY),
        (500, Reason.NETWORK_UNREACHABLE),
        (503, Reason.SOURCE_BUSY),
        (504, Reason.NETWORK_UNREACHABLE),
    ],
)
def test_every_status_code_has_a_reason(code: int, reason: Reason) -> None:
    error = error_of(code)
    assert error.reason is reason
    assert "Sorry in the test" in error.message
    assert error.hint


def test_a_missing_right_is_named() -> None:
    message = (
        'models.slipway.dev is forbidden: User \\"ann\\" cannot list resource \\"models\\" in API group \\"slipway.dev\\"'
        ' in the namespace \\"lab\\"'
    )
    error = error_of(403, f'{{"message": "{message}"}}')
    assert error.hint == "Ask whoever runs the cluster for the right to list models.slipway.dev in the namespace lab."


def test_each_broken_rule_is_a_line() -> None:
    causes = '[{"field": "spec.source", "message": "too long"}, {"field": "spec.services", "message": "too short"}, 7]'
    error = error_of(422, f'{{"message": "invalid", "details": {{"causes": {causes}}}}}')
    assert error.message == "spec.source: too long\nspec.services: too short"


@pytest.mark.parametrize("body", ["", "<html>\x1b[2J", "[]", '{"message": 7}'])
def test_an_answer_without_a_status_has_its_code(body: str) -> None:
    error = error_of(403, body)
    assert (error.reason, error.message) == (Reason.ACCESS_DENIED, "403 Sorry.")


def test_a_missing_kind_and_object_differ() -> None:
    assert error_of(404).object_missing
    unknown = error_of(404, "404 page not found")
    assert unknown.kind_missing
    assert not unknown.object_missing


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), translate_errors("https://api.example"):
        raise ZeroDivisionError
