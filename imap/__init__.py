"""IMAP4rev1: pure session and grammar, commands, server (floor 4)."""
