"""KUBECONFIG leads to anything but a configuration: told in words, with the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from crd.kubernetes_connection import open_connection
from steps.core.errors import Reason, SlipwayError


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.mkdir(),
        lambda path: path.write_bytes(b"\x00\x01"),
        lambda path: path.write_text("a: ["),
        lambda path: path.write_text("just a text"),
        lambda path: path.write_text("- a"),
        lambda path: path.write_text("clusters: 5\ncontexts: 7\ncurrent-context: x"),
        lambda path: path.write_text("contexts: [{name: x}]\ncurrent-context: x"),
        lambda path: path.write_text("contexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x\nclusters: [{name: c}]"),
        lambda path: path.touch(),
        lambda path: None,
    ],
    ids=range(10),
)
def test_what_is_no_configuration_is_told(
    make: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config"
    make(path)
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(SlipwayError) as caught:
        open_connection("")
    assert caught.value.reason is Reason.MISSING_DEPENDENCY
    assert str(path) in caught.value.message
    assert "object" not in caught.value.message
