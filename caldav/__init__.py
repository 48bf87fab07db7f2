"""CalDAV as a plugin of dav (floor 5): calendars, their queries, free time."""
