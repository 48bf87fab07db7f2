"""CalDAV as a plugin of dav (floor 5). Nothing is served from here yet."""
