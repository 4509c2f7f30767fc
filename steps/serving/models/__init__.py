"""What several tasks share about models: loading them, their limits, prompting, generating text.

Nothing here knows HTTP.
"""
