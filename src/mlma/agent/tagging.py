"""Tags of streams, and the groups that they make.

Takes the values of tags, gives the groups of all known streams. Next is the cycle.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlma.agent.groups import policy_groups
from mlma.domain.groups import Groups
from mlma.domain.settings import MLMA


@dataclass(slots=True)
class Tags:
    """Values of each tag by stream, those of streams to come included."""

    values: dict[str, dict[str, str]] = field(default_factory=dict)
    _groups: Groups | None = None

    def take(self, values: Mapping[str, Mapping[str, str]]) -> None:
        """Take values; one that a stream already has is replaced."""
        for name, by_stream in values.items():
            self.values.setdefault(name, {}).update(by_stream)
        self._groups = None

    def groups(self, ids: tuple[str, ...], policy: MLMA) -> Groups:
        """Return the groups of these streams; made anew only where streams or tags are new."""
        if self._groups is None or self._groups.n_streams != len(ids):
            tags = {name: tuple(of.get(one) for one in ids) for name, of in self.values.items()}
            self._groups = policy_groups(tags, len(ids), policy)
        return self._groups
