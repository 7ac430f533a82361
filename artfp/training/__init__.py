"""Training: the Lightning modules, their schedules and callbacks."""
