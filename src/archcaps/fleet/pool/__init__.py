"""pool: the best CPU that the hosts of a migration pool can share, searched exhaustively by bit planes."""
