"""Proxies, as the environment names them: ``http_proxy``, ``https_proxy``, ``no_proxy``, in either case.

The rules are those of Python's ``urllib.request``. The proxy is chosen for each address anew: a redirect may lead from a host
behind the proxy to one that is reached directly.
"""

from __future__ import annotations

import urllib.request


def proxy_for(scheme: str, host: str) -> str:
    """The address of the proxy for ``host`` (with its port where the address has one); empty where there is none."""
    if urllib.request.proxy_bypass(host):
        return ""
    return urllib.request.getproxies().get(scheme, "")


def proxy_environment() -> dict[str, str]:
    """The variables that give another program, such as Git, the same proxies."""
    found = urllib.request.getproxies().items()
    return {f"{scheme}_proxy": proxy for scheme, proxy in found if scheme in ("http", "https", "no")}
