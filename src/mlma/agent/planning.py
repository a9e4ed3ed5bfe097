"""Planning: re-trainings that were planned are asked for when their time has come.

Takes the orders that were heard, gives requests; they go out between two cycles.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mlma.agent.announcing import ordered_events
from mlma.agent.asking import due_plans
from mlma.agent.exclusions import Exclusions, exclusions
from mlma.agent.heard import Heard
from mlma.agent.watch import Memory
from mlma.domain.ledger import CycleInfo
from mlma.domain.live import LiveSettings
from mlma.ports.store import Store


@dataclass(frozen=True, slots=True)
class Planning:
    """Asks for what was planned."""

    settings: LiveSettings
    store: Store
    heard: Heard

    def ask(
        self,
        now: datetime,
        memory: Memory,
        tags: Mapping[str, Mapping[str, str]],
        newest: CycleInfo | None,
    ) -> None:
        """Ask for the re-trainings whose time has come; ``newest`` is the newest cycle.

        Raises
        ------
        ConflictError
            Somebody ordered something meanwhile: look again.
        """
        if all(plan.done or now < plan.at for plan in self.heard.standing().plans.values()):
            return
        periods = self.settings.periods

        def left_out(names: Sequence[str]) -> Mapping[str, Exclusions]:
            return exclusions(self.heard.standing(), names, tags, periods)

        running = self.store.requests(status=("open", "claimed"))
        asked = {one.request.unique_id for _, one in running}
        known = self.heard.actions()
        last = known[-1].number
        for action, requests in due_plans(known, now, memory, asked, left_out):
            told = ordered_events(requests, (), at=now, newest=newest, periods=periods)
            # Nobody undid the plan, or asked for it as well, since it was looked at.
            last = self.store.act(
                [action],
                requested=requests,
                after=last,
                events=list(told),
                targets=self.settings.targets,
            )
