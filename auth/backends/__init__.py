"""Who knows the account: one module a backend behind the Backend protocol."""
