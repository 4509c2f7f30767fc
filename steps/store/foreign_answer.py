"""The failure for an answer that a store's server has not given, or that does not follow its protocol."""

from __future__ import annotations

from steps.core.errors import Reason, SlipwayError
from steps.net.proxy import proxy_for
from steps.net.urls import host_of


def foreign_answer(where: str, endpoint: str, service: str, variable: str) -> SlipwayError:
    """Return the failure: networks that want a login answer every request with 200 and a page, and so do some proxies.

    Args:
        where: The address that the request was about.
        endpoint: The address that it was sent to.
        service: Whose protocol the answer should follow.
        variable: The environment variable that names another endpoint.
    """
    proxy = proxy_for(endpoint)
    by = f" (by {proxy})" if proxy else ""
    return SlipwayError(
        Reason.STORE_UNREADABLE,
        f"The request for {where}: the answer of {host_of(endpoint)}{by} is not one of {service}, "
        "but for example a web page, such as a proxy's or a login's.",
        hint=f"Open {endpoint} in a browser on this network: a proxy or a login may stand before it. Check {variable}, too.",
    )
