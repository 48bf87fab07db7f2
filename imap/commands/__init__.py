"""One module a command, one table of them all."""
