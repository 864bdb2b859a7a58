"""The knowledge as rules: one room a step of the way. Imports only the logic and the names in tables."""
