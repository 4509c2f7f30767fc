"""The context of a real run: the store of an address or of the settings, and a scratch folder beside it."""

from __future__ import annotations

from steps.command.folders import check_store_folder, require_folder
from steps.core.contract import Context
from steps.core.folders import temporary_root
from steps.core.progress import Progress
from steps.core.settings import read_settings
from steps.images.builders.supported import configured_builder
from steps.store.local import LocalStore
from steps.store.supported import open_store


def open_context(store_uri: str, scratch: str, progress: Progress) -> Context:
    """Open the store and make the context that a step runs in.

    Args:
        store_uri: Address of the store; empty: that of the settings.
        scratch: Folder for unfinished work; empty: inside a local store, else this user's below the system's temporary one.
        progress: Gets the step's notes and meters.

    Raises:
        SlipwayError: ``UnsupportedStore`` for an address of another kind, ``InvalidInput`` for wrong settings and for paths
            that can be no folders.
    """
    if not store_uri:
        settings = read_settings()
        configured_builder(settings)  # a wrong name fails the first step, not the one that builds
        store_uri = settings.store
    store = open_store(store_uri)
    store.note_retries(progress.note)
    if isinstance(store, LocalStore):
        check_store_folder(store.root)
    if scratch:
        folder = require_folder(scratch, "--scratch")
    elif isinstance(store, LocalStore):
        folder = store.scratch
    else:
        folder = temporary_root()
    return Context(store=store, scratch=folder, progress=progress)
