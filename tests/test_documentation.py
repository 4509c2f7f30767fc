"""The pages that people read: samples that can be read, commands that would be done, and links, files and names that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crd.kubernetes_client import DEFAULT_NAMESPACE
from pipelines import configuration, names
from pipelines.cli import VERBS, load
from pipelines.installation import Choices
from pipelines.pages.settings import OWN
from pipelines.step_table import STEPS
from steps.command.flags import make_parser
from steps.core.settings import Settings, variable
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


# What a reader can follow: links, commands, files, modules and variables.

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
# Files that a recipe adds as its example, so they are not there.
EXAMPLES = re.compile(r"tar_file|text_perplexity|buildx|toy")
# Files that a target or a step makes.
MADE = re.compile(r"docs/coverage\.md|service\.py")
RECIPE = ["1. The class", "2. The table", "3. The tests", "4. The generated files"]
ROOMS = ("steps", "crd", "pipelines", "tests", "docs", "containers")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def code_of(page: Path) -> list[str]:
    """The lines of a page's code blocks, with those that continue one another joined, and its code spans."""
    text = page.read_text().replace("\\\n", " ")
    fences = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    text = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    indented = re.findall(r"^    (\S.*)", text, re.MULTILINE)
    return [line.strip() for fence in fences for line in fence.splitlines()] + indented + spans_of(page)


def spans_of(page: Path) -> list[str]:
    """The code spans of a page's sentences and tables."""
    text = re.sub(r"^```\w*\n.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's titles: small letters, dashes for spaces, no punctuation."""
    text = re.sub(r"^```\w*\n.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def module_file(name: str) -> Path | None:
    """The file of a module of the repository, or the folder of a package without one."""
    path = ROOT.joinpath(*name.split("."))
    return next((each for each in (path.with_suffix(".py"), path / "__init__.py", path) if each.exists()), None)


@each_page
def test_links_and_anchors_resolve(page: Path) -> None:
    text = re.sub(r"^```\w*\n.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            wrong.append(link)
    assert wrong == []


@each_page
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = [re.match(r"(?:\$ )?make((?: [a-z][a-z0-9-]*)+)", line) for line in code_of(page)]
    assert {word for match in named if match for word in match[1].split()} <= targets


@each_page
def test_every_path_exists(page: Path) -> None:
    files = {path.name for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    wrong = []
    for span in spans_of(page):
        path = span.split("#")[0]
        if re.search(r"[A-Z]{4}|…", path) and not path.endswith(".md"):  # with a part to replace, such as NAME
            continue
        if EXAMPLES.search(path) or MADE.fullmatch(path):
            continue
        if re.fullmatch(r"[\w.-]+(/[\w.*-]+)+/?", path) and path.split("/")[0] in ROOMS:
            found = any(ROOT.glob(path.rstrip("/"))) or module_file(path.replace("/", ".")) is not None
            wrong += [] if found else [path]
        elif re.fullmatch(r"\w+\.py", path):
            wrong += [] if path in files else [path]
    assert wrong == []


@each_page
def test_every_module_exists(page: Path) -> None:
    code, wrong = "\n".join(code_of(page)), []
    names = re.findall(r"\b((?:steps|crd|pipelines|tests)(?:\.\w+)+)", code)
    for module, members in re.findall(r"^from ((?:steps|crd|pipelines|tests)[\w.]*) import ([\w, ]+)", code, re.MULTILINE):
        names += [f"{module}.{member.strip()}" for member in members.split(",")]
    for name in names:
        if EXAMPLES.search(name) or name.endswith((".NAME", ".py", ".md")):
            continue
        parent, _, member = name.rpartition(".")
        if not module_file(name):
            file = module_file(parent) or module_file(parent.rpartition(".")[0])
            text = file.read_text() if file and file.is_file() else ""
            wrong += [] if re.search(rf"^\s*(?:async )?(?:def |class )?{member}\b", text, re.MULTILINE) else [name]
    assert wrong == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda path: path.name)
def test_every_variable_exists(page: Path) -> None:
    """The changelog is left out: it names what a variable was called before."""
    known = {variable(name) for name in Settings.model_fields} | set(OWN)
    assert set(re.findall(r"\bSLIPWAY_[A-Z_]+\b", page.read_text())) - known == set()


@each_page
def test_every_command_and_flag_exists(page: Path) -> None:
    wrong: list[str] = []
    for line in (line.partition(" # ")[0].partition("→")[0] for line in code_of(page)):
        if match := re.match(r"(?:\$ )?(?:\S+/)?slipway ([a-z]+)(.*)", line):
            verb = match[1]
            known = (
                {option for each in load(verb).params for option in each.opts} | {"-h", "--help"} if verb in VERBS else set()
            )
            wrong += [line] if not set(re.findall(r"(?<=\s)--?[a-z][a-z-]*", match[2])) <= known or not known else []
        for step, rest in re.findall(r"python -m steps\.([a-z]+)(.*)", line):
            flags = set(re.findall(r"(?<=\s)--[a-z-]+", rest)) - {"--help"}
            known = set(re.findall(r"--[a-z-]+", make_parser(STEPS[step]).format_help())) if step in STEPS else set()
            wrong += [line] if not flags <= known or not known else []
    assert wrong == []


def test_classes_in_the_glossary_exist() -> None:
    code = "\n".join(path.read_text() for room in ("steps", "crd", "pipelines") for path in (ROOT / room).rglob("*.py"))
    rows = re.findall(r"^\|.*\|(.*)\|$", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([A-Z]\w+)`", row)]
    assert len(named) > 40
    assert [name for name in named if not re.search(rf"^(?:class {name}\b|{name} = )", code, re.MULTILINE)] == []


def test_status_messages_are_the_operators_own() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "crd").glob("*.py"))
    messages = re.findall(r"Message: +(.*)|slipway-operator  (.*)", (ROOT / "docs/cluster.md").read_text())
    assert messages
    for message in (first or second for first, second in messages):
        assert message.split(" 4 files")[0] in code


def test_recipes_have_one_form() -> None:
    recipes = sorted((ROOT / "docs").glob("add-a-*.md"))
    for recipe in recipes:
        text = recipe.read_text()
        assert re.findall(r"^## (\d\..*)", text, re.MULTILINE) == RECIPE, recipe.name
        assert "| file | what it holds |" in text.partition("## 1.")[0]
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    assert [recipe.name for recipe in recipes if f"](docs/{recipe.name})" not in contributing] == []


def test_every_decision_is_listed_by_its_title() -> None:
    folder = ROOT / "docs/decisions"
    for record in sorted(folder.glob("0*.md")):
        number, _, title = record.read_text().splitlines()[0].removeprefix("# ").partition(": ")
        assert record.name.startswith(f"{number}-")
        assert f"| [{number}]({record.name}) | {title} |" in (folder / "README.md").read_text()
        assert re.findall(r"^\*\*(.*?)\*\*", record.read_text(), re.MULTILINE) == ["Context.", "Decision.", "Consequences."]


def test_the_readme_stays_short() -> None:
    assert len(README.read_text().splitlines()) < 220
