"""What scripts/bench measures, and how: proxies side by side, rows of a table, and what becomes of them."""
