"""What a VMM's configuration shows a guest."""
