"""HTTP for sources and registries: addresses, connections, proxies, certificates, credentials and retries.

It knows nothing of what is transferred; what a status means is for its callers to say.
"""
