"""What the report shows, worked out in Python so that the template only displays it.

``view`` gathers a run's records and documents into one ``View``; the other modules each turn one kind of thing into what a
person reads: time (``timeline``), answers (``answers``), an OpenAPI document (``openapi``), a service (``services``).
Nothing here is HTML, and every text is still as hostile as it came: the template escapes.
"""
