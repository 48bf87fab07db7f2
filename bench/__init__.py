"""Benchmarks beside the peers of the field, in one run, as ratios."""
