"""Frames and files: how the user's data come in and go out again."""
