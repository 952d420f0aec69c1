"""What may go wrong while a store is read: samples that are damaged, and stores that change or go away."""
