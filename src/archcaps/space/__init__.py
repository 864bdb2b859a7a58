"""Every configuration at once: hosts of all parts, all releases, and all that a VMM can show a guest, as diagrams."""
