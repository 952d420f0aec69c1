"""What a path or URL says of a place, before anything is asked of it."""
