"""A server that is killed while it makes its store: the next one makes it, or finds it made.

Takes empty databases, gives how many of them were left empty and how many made; none half.
"""

import time
from collections import Counter
from pathlib import Path
from random import Random

from faults.databases import Databases
from faults.servers import Server
from faults.tables import Finding
from mlma.adapters.store import newest_schema, open_store, schema_version
from mlma.domain.errors import MlmaError

BIRTHS = 25
WITHIN_SECONDS = 1.2


def scenario(databases: Databases, folder: Path, seed: int) -> list[Finding]:
    """Return what is left of a store whose first server is killed as it starts."""
    folder.mkdir(parents=True, exist_ok=True)
    chance, found, problems = Random(seed), Counter[str](), []
    for number in range(BIRTHS):
        url = databases.new()
        server = Server(folder, url, "http://127.0.0.1:9", name=f"birth-{number}")
        server.start()
        time.sleep(chance.random() * WITHIN_SECONDS)
        server.end()
        try:
            version = schema_version(url)
            found["made" if version else "empty"] += 1
            store = open_store(url)
            store.register(["shop"])
            store.close()
            if version not in (None, newest_schema()):
                problems.append(f"the schema is {version}")
        except MlmaError as error:
            problems.append(str(error))
    told = f"{BIRTHS} first starts killed; stores left {dict(found)}, all usable afterwards"
    told = told if not problems else f"{problems[:3]}"
    return [Finding("killed while the store is made", databases.kind, not problems, told)]
