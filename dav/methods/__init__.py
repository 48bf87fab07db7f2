"""One file a method; table.py has them all."""
