"""One way to speak HTTP, for sources, stores and registries: addresses, connections and retries.

It knows nothing of what is transferred.
"""
