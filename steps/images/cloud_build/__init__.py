"""Google Cloud Build: the image of an archive that lies in a bucket, built and pushed by Google.

``order`` says what is to be built, ``client`` asks Google's own client over gRPC, ``single`` sees to it that an archive has
one build however often it is asked for, ``log`` reads the last lines of one that failed. The step ``steps.cloudbuild`` drives
them, and looks at a build rather than waiting for it; ``cancel`` is for whoever stops a run.
"""

from __future__ import annotations
