"""What the report shows, worked out in Python so that the template only displays it.

``report_view`` gathers a run's records and documents into one ``ReportView``; each other module turns one kind of thing into
what a person reads. Nothing here is HTML, and every text is still as hostile as it came: the template escapes.
"""
