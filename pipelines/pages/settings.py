"""docs/settings.md: every setting, from ``steps.core.settings``, and the other environment variables that count."""

from __future__ import annotations

from pipelines.pages.markdown import code, page, sentence, table
from steps.core.settings import Settings, variable

# Variables that are not settings of an installation: the part of Slipway that reads them, and what they are.
OWN = {
    "SLIPWAY_NAMESPACE": "Namespace of the commands that talk to a cluster, as `--namespace`.",
    "SLIPWAY_HTTP_HOSTS": "Hosts, separated by commas, from which models may be fetched by plain `http`; for tests.",
    "SLIPWAY_BUILD_FLAGS": "More arguments for `buildah`, `podman` or `docker build`, split as a shell does "
    "(builder `local`, `make images`).",
    "SLIPWAY_PUSH_FLAGS": "More arguments for pushing Slipway's own images (`make images`).",
    "SLIPWAY_DEMO_PORT": "Port of the Git server that `make run` starts; a free one without it.",
    "SLIPWAY_RESYNC_SECONDS": "How often the operator looks at every Model again (60).",
    "SLIPWAY_HEAD_START_SECONDS": "How long the operator waits for the Sensor before it starts a Workflow itself (10).",
}
# Variables of libraries and protocols, with the names that their own manuals give them.
FOREIGN = {
    "https_proxy, http_proxy, all_proxy, no_proxy": "Proxies, and the hosts that are reached without one, in lower or upper "
    "case, as curl and httpx read them: HTTP proxies with user and password, chosen for each address; `no_proxy` with names, "
    "addresses, networks (`10.0.0.0/8`), ports and `*`. This machine is never reached by a proxy.",
    "SSL_CERT_FILE, SSL_CERT_DIR, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE": "Certificate authorities that are trusted beside the "
    "system's, by Git, LFS, stores and registries alike; the first two together stand in place of the system's.",
    "PIP_INDEX_URL, PIP_EXTRA_INDEX_URL": "Where pip looks for packages when an image is built.",
    "DOCKER_CONFIG, REGISTRY_AUTH_FILE": "The folder of Docker's `config.json`, or Podman's `auth.json`: credentials of "
    "registries. Without them the files that `podman login` and `docker login` write are read.",
    "GOOGLE_APPLICATION_CREDENTIALS, GOOGLE_CLOUD_PROJECT": "Google's credentials and project, for `gs://` and Cloud Build.",
    "STORAGE_EMULATOR_HOST": "Address of another server with the API of Google Cloud Storage.",
    "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE": "Credentials for `s3://`, with all the other "
    "ways that botocore knows.",
    "AWS_REGION, AWS_DEFAULT_REGION": "Region of the bucket.",
    "AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_S3": "Address of another server with the API of S3.",
    "AWS_CA_BUNDLE": "More certificate authorities for `s3://`.",
    "KUBECONFIG": "The cluster that `submit`, `status`, `logs`, `retry`, `install` and `doctor` talk to.",
    "TMPDIR": "Where unfinished work goes when the store is a bucket.",
    "OMP_NUM_THREADS": "Threads that the model computes with.",
}


def settings_page() -> str:
    """Return the page."""
    settings = table(
        ["slipway.toml", "variable", "default", "meaning"],
        [
            [code(name), code(variable(name)), default_of(field.default), sentence(field.description or "")]
            for name, field in Settings.model_fields.items()
        ],
    )
    others = [[", ".join(code(one) for one in names.split(", ")), meaning] for names, meaning in (OWN | FOREIGN).items()]
    return page(
        "Settings",
        "Settings say where results, images and builds go. Each has one name in three places: a line in `slipway.toml` in the "
        "folder that a command is started in, an environment variable, and, in a cluster, an entry of the ConfigMap "
        "`slipway-settings` under the variable's name. A variable overrides the file; a flag (`--store`) or a field of the "
        "Model (`builder`) overrides both. An empty variable counts as not set. `slipway doctor` shows which settings apply, "
        "where they come from, and whether what they name can be reached. A `slipway.toml`, and the same in a cluster:",
        '```toml\nstore = "gs://my-bucket/slipway"\nbuilder = "oci"\nregistry = "registry.example.org/models"\n```',
        "    slipway install --store gs://my-bucket/slipway --set SLIPWAY_BUILDER=oci "
        "--set SLIPWAY_REGISTRY=registry.example.org/models",
        "## All settings",
        "In a variable, the parts of a list are separated by commas; in `slipway.toml` a list is a list. "
        "Builders and registries are described in [images.md](images.md), Google Cloud in [google-cloud.md](google-cloud.md).",
        settings,
        "## Other environment variables",
        "What belongs to a library keeps the name that the library reads, so that it works as its own manual says. On a "
        "laptop the step `load` gets no token and no proxy; where the store is a bucket, it gets the proxy and the variables "
        "of that store's library, and no others. The service in the step `smoke` gets none in any case.",
        table(["variable", "meaning"], others),
    )


def default_of(value: object) -> str:
    """Return a default as code; nothing for one that is empty."""
    return code(value) if value not in ("", ()) else ""
