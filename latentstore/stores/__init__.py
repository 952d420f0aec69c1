"""What can be done with a finished store: info, verify, export."""
