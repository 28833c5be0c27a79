"""Before Django reads its settings: a private data path, and the database that was asked for.

`GATEHOUSE_TEST_DATABASE=postgresql` runs the same tests on a PostgreSQL of our own on loopback.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

for name in [name for name in os.environ if name.startswith("LOCALAI_")]:
    del os.environ[name]
_folder = Path(tempfile.mkdtemp(prefix="gatehouse-test-"))
atexit.register(shutil.rmtree, _folder, ignore_errors=True)
os.environ["LOCALAI_DATA_PATH"] = str(_folder / "data")
os.environ["LOCALAI_AUTH"] = "true"
os.environ["LOCALAI_AUTH_RATE_LIMIT"] = "0"
os.environ["LOCALAI_ALLOWED_HOSTS"] = "testserver,localhost,127.0.0.1"
os.environ["LOCALAI_MODELS"] = ""
os.environ["LOCALAI_API_KEY"] = "legacy-key-one,legacy-key-two"

if os.environ.get("GATEHOUSE_TEST_DATABASE") == "postgresql":
    from tests.postgresql import Cluster

    _cluster = Cluster(_folder / "postgresql")
    atexit.register(_cluster.stop)
    os.environ["LOCALAI_AUTH_DATABASE_URL"] = _cluster.url("gatehouse")
