"""How fast a store is read here, and what would make it faster."""
