"""The ordered policies of sign-in, each a pure function of (attempt, state, now)."""
