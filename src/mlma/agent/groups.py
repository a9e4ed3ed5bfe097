"""The groups that a policy looks at: those of its tags, or of all tags that are known."""

from collections.abc import Mapping, Sequence

from mlma.domain.errors import unknown_name
from mlma.domain.groups import Groups, groups_of
from mlma.domain.settings import MLMA


def policy_groups(tags: Mapping[str, Sequence[str | None]], n: int, policy: MLMA) -> Groups:
    """Return the groups of a policy: those of the tags that it names, or of all.

    Raises
    ------
    SettingsError
        The policy names a tag that is not known.
    """
    for name in policy.group_by:
        if name not in tags:
            raise unknown_name("tag in `group_by`", name, tags)
    return groups_of(n, {name: tags[name] for name in policy.group_by or tags})
