"""CardDAV as a plugin of dav (floor 5): address books, their queries, cards in both versions."""
