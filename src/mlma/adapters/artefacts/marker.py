"""The file that says that a place is a store of models, and in which form it is written.

Takes the files of a store, gives whether this version of mlma may read and write them.
"""

import json
from dataclasses import dataclass

from mlma.adapters.artefacts.files import Files
from mlma.domain.errors import ArtefactError

NAME = "mlma-store.json"
FORMAT = 1


@dataclass(slots=True)
class Marker:
    """The marker of a store."""

    files: Files
    seen: bool = False

    def exists(self) -> bool:
        """Whether the place is a store."""
        return self.files.read(NAME) is not None

    def check(self) -> None:
        """Raise ``ArtefactError`` for a store of another form; a place without store passes."""
        raw = None if self.seen else self.files.read(NAME)
        if raw is None:
            return
        try:
            made_in = json.loads(raw)["format"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ArtefactError(
                f"{NAME} of the model store at {self.files.where} is damaged: {error}. Expected "
                f'{{"format": {FORMAT}}}. Hint: write that into it; nothing else was read.'
            ) from error
        if made_in != FORMAT:
            raise ArtefactError(
                f"The model store at {self.files.where} has form {made_in!r}. Expected {FORMAT}. "
                f"Hint: use the version of mlma that wrote it; it was left as it is."
            )
        self.seen = True

    def write(self) -> None:
        """Make the place a store, unless it is one."""
        self.check()
        if not self.seen:
            self.files.write(NAME, [json.dumps({"format": FORMAT}).encode()])
            self.seen = True
