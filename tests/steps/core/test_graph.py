"""The graph is data that fits its steps: every name that it uses is a step, an input or an output."""

from __future__ import annotations

import pytest

from pipelines.step_table import STEPS
from steps.core.graph import MODEL_NODES, REPORT, SERVICE_NODES, Node, Output

NODES = (*MODEL_NODES, *SERVICE_NODES, REPORT)


def test_every_node_is_a_step() -> None:
    assert {node.name for node in NODES} == set(STEPS)


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_an_output_exists_before_it_is_used(node: Node) -> None:
    earlier = NODES[: NODES.index(node)]
    for source in node.inputs.values():
        if isinstance(source, Output):
            assert source.node in {each.name for each in earlier}
            assert source.name in STEPS[source.node].outputs.model_fields
