"""The pages that people write: samples that can be read, commands that would be done, names that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crd.kubernetes_client import DEFAULT_NAMESPACE
from pipelines import configuration, names
from pipelines.installation import Choices
from steps.images.builders.supported import BuilderKind, configured_builder

ROOT = Path(__file__).parents[1]
README, CLOUDS, IMAGES = ROOT / "README.md", ROOT / "docs/google-cloud.md", ROOT / "docs/images.md"
SETTINGS = ROOT / "docs/settings.md"


def test_every_builder_has_a_row() -> None:
    for kind in BuilderKind:
        assert re.search(rf"^\| `{kind}`.* \| ", IMAGES.read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", [README, CLOUDS, SETTINGS], ids=lambda path: path.name)
def test_samples_are_settings_that_fit_together(page: Path, tmp_path: Path) -> None:
    [sample] = re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
    (tmp_path / "slipway.toml").write_text(sample)
    settings, wrong = configuration.check_here({}, tmp_path)
    assert wrong == []
    assert configured_builder(settings).builder.needs_registry


@pytest.mark.parametrize("page", [README, CLOUDS, SETTINGS], ids=lambda path: path.name)
def test_an_install_on_a_page_would_be_done(page: Path) -> None:
    commands = re.findall(r"^    slipway install (.*)$", page.read_text().replace("\\\n", ""), re.MULTILINE)
    assert commands
    for command in commands:
        pairs = re.findall(r"--set ([A-Z_]+=\S+)", command.replace("$REGION", "europe-west1").replace("$", "my-"))
        [store] = re.findall(r"--store (\S+)", command.replace("$", "my-"))
        registry = [pair.replace("my-REGISTRY", "europe-west1-docker.pkg.dev/p/slipway") for pair in pairs]
        chosen = Choices.parse(registry, store=store, event_bus_url="", registry=None)
        assert configuration.check_cluster(chosen.settings, DEFAULT_NAMESPACE)[1] == []


def test_accounts_secrets_and_files_on_pages_exist() -> None:
    text = CLOUDS.read_text()
    for name in (
        f"[{DEFAULT_NAMESPACE}/{names.STEPS_ACCOUNT}]",
        names.CREDENTIALS_SECRET,
        names.REGISTRY_SECRET,
        names.CREDENTIALS_FOLDER,
        names.SETTINGS,
    ):
        assert name in text
    files = re.findall(r"`((?:tests|pipelines|steps)/[^`*]+)`", text)
    assert files
    assert [path for path in files if not (ROOT / path).exists()] == []
    anchors = re.findall(r"google-cloud\.md#([a-z-]+)", README.read_text()) + re.findall(r"\]\(#([a-z-]+)\)", text)
    titles = {
        re.sub(r"[^a-z -]", "", line.lower()).strip().replace(" ", "-") for line in text.splitlines() if line.startswith("##")
    }
    assert set(anchors) <= titles
