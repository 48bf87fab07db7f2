"""The composition root: settings into daemons, and the preau command (floor 6)."""
