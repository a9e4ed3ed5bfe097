"""What of the orders is in force, for pages."""

from mlma.agent.standing import Standing
from mlma.web.face import Desk


def standing_now(at: Desk) -> Standing:
    """Return what is in force, orders that wait for the next cycle included."""
    return at.service.engineering.standing()
