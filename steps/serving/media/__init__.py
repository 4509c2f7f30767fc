"""Pictures, sound and videos: decoding the files that clients send, and encoding those in answers.

The limits on size, length and formats are here.
"""
