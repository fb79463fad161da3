"""What scripts/chaos and scripts/soak are built from: numbered traffic, faults, and what must hold of a process."""
