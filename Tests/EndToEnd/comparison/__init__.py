"""What scripts/compare-nginx sends through both proxies."""
