"""Mail transport: LMTP delivery now; reception, submission, queue and relay (floor 4)."""
