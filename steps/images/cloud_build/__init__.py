"""Google Cloud Build: the image of an archive that lies in a bucket, built and pushed by Google.

``request`` says what is to be built, ``client`` calls the API, ``build_once`` makes sure that an archive has one build however
often it is requested, ``log`` reads the end of a failed build's log, ``unfinished`` cancels what an ended run left behind.
"""
