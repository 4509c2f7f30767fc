"""A client of container registries: names of images, credentials, and manifests and blobs in both directions.

``reference`` reads names, ``credentials`` finds logins, ``session`` sends authenticated requests, ``repository`` moves blobs.
"""
