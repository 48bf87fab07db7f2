"""One file a report; table.py has them all."""
