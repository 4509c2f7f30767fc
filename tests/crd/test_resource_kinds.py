"""The table of kinds: paths of the API, and the kind of a manifest."""

from __future__ import annotations

import pytest

from crd.resource_kinds import CRD, KINDS, MODEL, POD, AnyKind, kind_of
from pipelines.manifests import files


@pytest.mark.parametrize(
    ("kind", "group", "version", "path"),
    [
        (MODEL, "slipway.dev", "v1alpha1", "/apis/slipway.dev/v1alpha1/namespaces/lab/models/x/status"),
        (POD, "", "v1", "/api/v1/namespaces/lab/pods/x/status"),
        (CRD, "apiextensions.k8s.io", "v1", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/x/status"),
    ],
)
def test_a_kind_knows_its_path(kind: AnyKind, group: str, version: str, path: str) -> None:
    assert (kind.group, kind.version) == (group, version)
    assert kind.resource == (group, version, kind.plural)
    assert kind.path("lab", "x", "status") == path


def test_every_kind_is_found_by_its_manifest() -> None:
    for kind in KINDS.values():
        assert kind_of({"apiVersion": kind.api_version, "kind": kind.kind}) is kind


def test_every_rendered_manifest_has_a_kind() -> None:
    for documents in files().values():
        for manifest in documents:
            kind_of(manifest)


def test_an_unknown_kind_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no kind Gadget of v9"):
        kind_of({"apiVersion": "v9", "kind": "Gadget"})
