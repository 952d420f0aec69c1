"""What one does with a finished store: info, verify, export."""
