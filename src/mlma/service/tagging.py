"""Tags of streams out of the file that the settings name.

Takes a path, has the agent record what stands there, once for each state of the file.
"""

import hashlib
import json
from typing import Protocol

from mlma.ports import Store

_SETTING = "tags file"


class Tagged(Protocol):
    """What is asked of the live agent."""

    def tag(self, tags: dict[str, dict[str, str]], *, by: str = "") -> int:
        """Record tags of streams: values by stream, by name of the tag."""
        ...


def record_tags(path: str, store: Store, live: Tagged) -> bool:
    """Record the tags of a file unless they are recorded; return whether they were new.

    Raises
    ------
    DataError
        The file cannot be read, or holds no tags.
    """
    if not path:
        return False
    from mlma.adapters.frames.tags import read_tags

    tags = read_tags(path, "unique_id")
    text = json.dumps(tags, sort_keys=True)
    mark = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    if store.setting(_SETTING) == mark:
        return False
    live.tag(tags, by="settings")
    store.remember(_SETTING, mark)
    return True
