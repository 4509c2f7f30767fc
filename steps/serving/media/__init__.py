"""Files that clients send, read whatever their format: pictures, sounds and videos.

Also how they are written into answers.
"""
