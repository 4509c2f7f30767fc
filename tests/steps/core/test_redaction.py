"""One redactor: a secret in an address is found and removed in every spelling, and what is none is left alone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from crd.manifest import parse_manifest
from steps.command.flags import make_parser, parse_inputs
from steps.core.errors import Reason, SlipwayError
from steps.core.progress import Progress, ProgressEvent
from steps.core.receipts import Failure
from steps.core.redaction import find_secret, redact, redact_address, redact_values
from steps.core.settings import Settings, read_settings, variable
from steps.fetch import STEP as FETCH
from steps.net.urls import check_source
from steps.sources.upload import UploadSource
from steps.store.supported import open_prefix, open_store

S = "hunter2hunter2"
USERINFO = [
    *(f"{scheme}://user:{S}@h/a" for scheme in ("https", "HTTPS", "http", "ssh", "git", "s3", "gs", "file", "oci", "x+y")),
    f"https://{S}@h/a",
    f"https://user%3A{S}%40h/a",
    f"https://user%253A{S}%2540h/a",
    f"https%3A%2F%2Fuser%3A{S}%40h%2Fa",
    f"https://user:{S}＠h/a",
    f"https:\\\\user:{S}@h\\a",
    f"https:/user:{S}@h/a",
    f"https:user:{S}@h/a",
    f" https://user:{S}@h/a",
    f"https://user:{S}/x@h/a",
    f"https://user:x {S}@h/a",
    f"https://user:x\n{S}@h/a",
    f"https://user:a@{S}@h/a",
    f"https:///user:{S}@h/a",
    f"https://h/https://user:{S}@g/a",
    f"git+ssh://user:{S}@h/a",
    f"user:{S}@h:path",
    f"//user:{S}@h/path",
]
QUERIES = [
    f"https://h/a?X-Amz-Signature={S}",
    f"https://h/a?sv=2020&sig={S}",
    f"https://h/a#{S}",
    f"s3://b/a?token={S}",
    f"gs://b/a#access_token={S}",
    f"https://h/a%3Ftoken%3D{S}",
    f"https://h/a?access_token=x@{S}",
    f"https://h/a;token={S}",
    f"https://h/a&api_key={S}",
    f"https://user:{S}?x@h/a",
    f"https://user:{S}#x@h/a",
    f"https://user:pw@h/a?token=abc@{S}",
    f"/data/x?token={S}",
]
FORMS = [*USERINFO, *QUERIES]
CLEAN = [
    "https://h/a",
    "https://h.example:8443/org/model@v1",
    "http://127.0.0.1:40123/x@y",
    "http://[::1]:80/m@v",
    "https://h/@scope/package",
    "https://h/%E4%B8%AD%E6%96%87",
    "https://dev.example/org/C%23/_git/m",
    "s3://bucket/prefix@v1/x",
    "file:///data/x@y",
    "/data/x@y",
    "/data/C#/x?y",
    "./a:b@c",
    "models/我的模型",
    f"python:3.11-slim@sha256:{'a' * 64}",
    f"registry.example:5000/x/y:tag@sha256:{'0' * 64}",
    "git@example.org:org/repo",
    "builder@project.iam.gserviceaccount.com",
]
TEXTS = [
    "Cannot reach https://h.example: connection refused.",
    "Use nats://HOST:PORT, or ask me@example.org.",
    "Did you mean https://h/x?",
    "fatal: unable to access 'https://h/x/': The requested URL returned error: 403",
    f"FROM python:3.11@sha256:{'a' * 64}",
    "Basic authentication is required, and pad_token=[PAD]",
    "gcloud storage buckets add-iam-policy-binding gs://b --member=serviceAccount:a@p.iam.gserviceaccount.com",
    'File "/x/y.py", line 3, in z',
]


@pytest.mark.fault("refused")
@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_found_and_cut_out(form: str) -> None:
    assert find_secret(form)
    texts = [redact_address(form), redact(f"cannot use {form!r}."), redact(f"fatal: unable to access '{form}/': no")]
    assert [text for text in texts if S in text] == []
    assert all(redact(text) == text for text in texts), "what was cut once stays as it is"


@pytest.mark.fault("accepted")
@pytest.mark.parametrize("value", CLEAN)
def test_an_address_without_secrets_is_left(value: str) -> None:
    assert find_secret(value) == ""
    assert redact_address(value) == redact(value) == value


@pytest.mark.fault("accepted")
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_without_secrets_is_left(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"Authorization: Bearer {S}", "Authorization: …"),
        (f"curl -H 'Private-Token: {S}' x", "curl -H 'Private-Token: …' x"),
        (f"Proxy-Authorization: Basic {S}==, next", "Proxy-Authorization: … next"),
        (f"secret={S}&x=1", "secret=…&x=1"),
        (f"got https://h/x?a={S}, and left", "got https://h/x?…, and left"),
        (f"({S})", f"({S})"),
    ],
)
def test_headers_and_parameters_are_cut(text: str, left: str) -> None:
    assert redact(text) == left


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", f"http://user:{S}@proxy:3128"),
        ("https_proxy", "http://user:hunter2%68unter2@proxy:3128"),
        ("PIP_INDEX_URL", f"https://user:{S}@index/simple"),
        ("PIP_EXTRA_INDEX_URL", f"https://a/simple https://{S}@index/simple"),
        ("AWS_SECRET_ACCESS_KEY", S),
        ("HF_TOKEN", S),
    ],
)
def test_secrets_of_the_environment_are_cut(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert S in redact(f"{S} was refused")
    monkeypatch.setenv(name, value)
    assert redact(f"{S} was refused") == "… was refused"


def test_ordinary_variables_are_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/etc/key.json")
    monkeypatch.setenv("HTTPS_PROXY", "http://user@proxy:3128")
    monkeypatch.setenv("SSH_KEY", "/home/user/.ssh/id")
    assert redact("user may not read /etc/key.json") == "user may not read /etc/key.json"


@pytest.mark.fault("survived")
def test_long_texts_are_shortened_and_quick() -> None:
    hostile = ["https://a:" * 20_000, "a:" * 50_000, f"https://user:{S}@h," * 2000, "x" * 100_000, "@" * 100_000]
    for text in hostile:
        assert S not in redact(text)
        assert len(redact(text)) < 20_000


def test_values_are_cut_and_names_kept() -> None:
    value = {"source": [f"https://user:{S}@h/a", 1, None], "token=x": {"b": f"s3://{S}@b"}}
    assert redact_values(value) == {"source": ["https://…@h/a", 1, None], "token=x": {"b": "s3://…@b"}}


@pytest.mark.fault("refused")
@pytest.mark.parametrize("form", FORMS)
def test_every_border_cuts_it_out(form: str, caplog: pytest.LogCaptureFixture) -> None:
    class Kept(Progress):
        texts: list[str] = []  # noqa: RUF012

        def emit(self, event: ProgressEvent) -> None:
            self.texts.append(event.text)

    progress = Kept()
    progress.note(f"Looking at {form!r}.")
    progress.meter(f"from {form!r}", 1)
    error = SlipwayError(Reason.INVALID_SOURCE, f"{form!r} is wrong.", hint=f"not {form!r}")
    read = Failure(reason=Reason.POD_LOST, message=f"{form!r}", hint="", retryable=True)
    said = [*progress.texts, str(error), repr(error), error.hint, Failure.from_error(error).model_dump_json(), read.message]
    with caplog.at_level(logging.WARNING):
        logging.getLogger("x").warning("%s", error)
    assert S not in " ".join(said) + caplog.text


@pytest.mark.fault("refused")
@pytest.mark.parametrize(
    "form", [form if number % 4 == 0 else pytest.param(form, marks=pytest.mark.hard) for number, form in enumerate(FORMS)]
)
def test_every_entry_refuses_it(form: str, tmp_path: Path) -> None:
    """Stores, sources, flags, settings and manifests; none shows it."""
    quoted = form.replace("\\", "\\\\").replace("\n", "\\n")
    manifest = (
        "apiVersion: slipway.dev/v1alpha1\nkind: Model\nmetadata: {{name: a}}\nspec:\n  services: [ner]\n"
        '  sourceKind: {kind}\n  source: "{source}"\n'
    )
    (tmp_path / "slipway.toml").write_text(f'store = "{quoted}"\n')
    arguments = ["--source-kind=upload", f"--source={form}"]

    def flags() -> None:
        given = make_parser(FETCH).parse_args(arguments)
        parse_inputs(FETCH.inputs, {name: getattr(given, name) for name in FETCH.inputs.model_fields})

    entries: dict[str, Callable[[], object]] = {
        "store": lambda: open_store(form),
        "prefix": lambda: open_prefix(form),
        "repository": lambda: check_source(form),
        "upload": lambda: UploadSource.check_address(form),
        "flag": flags,
        "file of settings": lambda: read_settings({}, tmp_path),
        **{f"variable {name}": partial(read_settings, {variable(name): form}, tmp_path / "none") for name in ADDRESSES},
        **{f"manifest {kind}": partial(parse_manifest, manifest.format(kind=kind, source=quoted), "m") for kind in KINDS},
    }
    for entry, use in entries.items():
        with pytest.raises(SlipwayError) as caught:
            use()
        assert caught.value.reason.exit_code in (2, 13), entry
        assert S not in f"{caught.value} {caught.value.hint} {caught.value!r}", entry


KINDS = ("git_lfs", "upload")
ADDRESSES = [name for name, field in Settings.model_fields.items() if field.annotation is str and name != "builder"]
