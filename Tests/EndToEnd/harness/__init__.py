"""What the end-to-end tests, scripts/compare-nginx, bench, chaos and soak are built from."""
