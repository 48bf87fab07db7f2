"""What any daemon needs: listeners, TLS, logging, notification, limits, local calls (floor 1)."""
