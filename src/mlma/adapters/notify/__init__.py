"""Ways on which requests for re-training reach trainers that live elsewhere."""
