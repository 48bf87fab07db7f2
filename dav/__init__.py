"""WebDAV itself, knowing neither calendars nor cards (floor 4). Nothing is served from here yet."""
