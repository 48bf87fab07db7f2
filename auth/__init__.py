"""Who is this, and may they in: credentials, factors, policies, traces, keys (floor 3)."""
