"""What several tasks share: opening a model, generating text, prompts.

Nothing here knows HTTP.
"""
