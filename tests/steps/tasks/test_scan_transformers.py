"""The JSON files about transformers hold what the installed library says."""

from __future__ import annotations

import pytest

from steps.tasks import architectures, optional_libraries, scan_transformers

pytestmark = pytest.mark.slow


def test_the_architectures_are_fresh() -> None:
    assert architectures.FILE.read_text() == scan_transformers.architectures_json(), "make pins"


def test_the_optional_libraries_are_fresh() -> None:
    assert optional_libraries.FILE.read_text() == scan_transformers.optional_libraries_json(), "make pins"


@pytest.mark.parametrize("name", ["Sam2ImageProcessor", "DINOv3ViTImageProcessor", "PixtralProcessor", "TimmBackbone"])
def test_transformers_refuses_such_a_class(name: str) -> None:
    import transformers

    with pytest.raises(ImportError, match=r"Torchvision|timm"):
        getattr(transformers, name)(transformers.TimmBackboneConfig())
    assert name in optional_libraries.libraries_by_class()
