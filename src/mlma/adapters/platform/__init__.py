"""A simulated last-mile platform with ground truth: any number of streams, without a memory."""
