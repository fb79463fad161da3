"""What the end-to-end tests, scripts/compare-nginx and scripts/bench are built from."""
