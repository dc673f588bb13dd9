"""What is known of the machine: what it is, its clocks, and what makes it slower or faster."""
