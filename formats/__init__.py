"""Formats: bytes to values and back, pure (floor 1). No files, no clock, no sockets."""
