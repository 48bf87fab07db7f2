"""The one store: Maildir, calendars, contacts and documents under one encrypted index (floor 2)."""
