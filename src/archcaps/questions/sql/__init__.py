"""The rules as SQL over tables of hosts and guests, and the look-up tables that such a query joins."""
