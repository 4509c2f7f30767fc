"""text-generation as a server: events on a real connection, and what else goes on while they come.

The model is held in the middle of a step, so that what is seen meanwhile is seen meanwhile.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.steps.packages import make
from tests.steps.tasks.generation_cases import save_writer
from tests.steps.tasks.served import served

pytestmark = pytest.mark.slow

MANY = 4000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """A package of a model with room for long answers, served on loopback."""
    import uvicorn

    folder = tmp_path_factory.mktemp("streaming")
    (folder / "model").mkdir()
    save_writer(folder / "model", positions=8192)
    made = make(folder / "store", folder / "model", "text-generation")
    with served(made, folder / "package") as client, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # so that who comes before the server is up waits
        server = uvicorn.Server(uvicorn.Config(client.app, lifespan="off", log_config=None))
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        yield listener.getsockname()
        server.should_exit = True
        thread.join()


@dataclass
class Model:
    """The model of the service as it works: it takes ``free`` steps, then waits for ``gate``."""

    free: int = 10**9
    taken: int = 0
    gate: threading.Event = field(default_factory=threading.Event)
    held: threading.Event = field(default_factory=threading.Event)

    def step(self, module: Any, inputs: Any) -> None:
        if type(module).__name__ == "LlamaForCausalLM":
            self.taken += 1
            if self.taken > self.free:
                self.held.set()
                assert self.gate.wait(20)


@pytest.fixture
def model() -> Iterator[Model]:
    from torch.nn.modules.module import register_module_forward_pre_hook

    model = Model()
    hook = register_module_forward_pre_hook(model.step)
    yield model
    model.gate.set()
    hook.remove()


@contextmanager
def call(address: tuple[str, int], path: str, **values: Any) -> Iterator[Any]:
    """The response, its body not yet read; behind it the connection is closed."""
    connection = HTTPConnection(*address, timeout=20)
    connection.request("POST" if values else "GET", path, json.dumps(values), {"Content-Type": "application/json"})
    with closing(connection), connection.getresponse() as response:
        yield response


def read(response: Any) -> Iterator[tuple[str, Any]]:
    name = "message"
    for line in response:
        key, _, value = line.decode().strip().partition(": ")
        if key == "event":
            name = value
        elif key == "data":
            yield name, json.loads(value)
            name = "message"


def test_chunks_add_up_to_the_last_event(address: tuple[str, int]) -> None:
    request = {"prompt": "The harbour", "max_new_tokens": 24, "temperature": 1.0, "seed": 5}
    with call(address, "/stream", **request) as response:
        assert (response.status, response.headers.get_content_type()) == (200, "text/event-stream")
        *pieces, (name, answer) = read(response)
    assert {name for name, _ in pieces} == {"message"}
    assert len(pieces) > 3
    assert "".join(piece["text"] for _, piece in pieces) == answer["text"]
    with call(address, "/predict", **request) as response:
        assert (name, json.load(response)) == ("done", answer)


@pytest.mark.parametrize(
    ("values", "field"),
    [({"prompt": ""}, "prompt"), ({"prompt": "x" * 9000}, "prompt"), ({"prompt": "x", "seed": -1}, "seed"), ({"a": 1}, "a")],
)
def test_bad_input_is_refused_before_a_stream_begins(address: tuple[str, int], values: dict[str, Any], field: str) -> None:
    with call(address, "/stream", **values) as response:
        assert (response.status, response.headers.get_content_type()) == (400, "application/json")
        assert field in json.load(response)["error"]


def test_health_checks_are_answered_during_generation(address: tuple[str, int], model: Model) -> None:
    model.free = 8
    with call(address, "/stream", prompt="The harbour", max_new_tokens=24) as response:
        events = read(response)
        assert next(events)[0] == "message"
        assert model.held.wait(20)
        for path in ("/healthz", "/readyz", "/info"):
            with call(address, path) as health:
                assert health.status == 200
        assert model.taken == 9
        model.gate.set()
        assert [name for name, _ in events][-1] == "done"


def test_a_client_that_leaves_stops_the_model(address: tuple[str, int], model: Model) -> None:
    model.free = 8
    with call(address, "/stream", prompt="The harbour", max_new_tokens=MANY) as response:
        next(read(response))
        assert model.held.wait(20)
    model.gate.set()
    with call(address, "/predict", prompt="The harbour", max_new_tokens=2) as response:  # waits for its turn
        assert json.load(response)["new_tokens"] == 2
    assert model.taken < MANY


def test_requests_during_a_stream_are_answered_next(address: tuple[str, int], model: Model) -> None:
    model.free = 8
    answers: list[Any] = []

    def ask(length: int) -> None:
        with call(address, "/predict", prompt="The harbour", max_new_tokens=length) as response:
            answers.append(json.load(response))

    with call(address, "/stream", prompt="The harbour", max_new_tokens=24) as response:
        assert model.held.wait(20)
        threads = [threading.Thread(target=ask, args=(length,)) for length in (3, 4, 5)]
        for thread in threads:
            thread.start()
        model.gate.set()
        assert [name for name, _ in read(response)][-1] == "done"
        for thread in threads:
            thread.join()
    assert sorted(answer["new_tokens"] for answer in answers) == [3, 4, 5]
