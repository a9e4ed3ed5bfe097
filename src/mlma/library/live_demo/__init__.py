"""The live demo: a delivery platform is played against a real server, and judged by its truth.

Takes a `Plan`, gives a `Day` per simulated day and an `Outcome`. The server is `mlma serve` in a
process of its own; all that passes between it and the platform is HTTP. Its trainer calls `retrain`
of this package.
"""

from mlma.library.live_demo.training import retrain

__all__ = ["retrain"]
