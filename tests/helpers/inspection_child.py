"""Child process of an inspector that behaves as its file says: sleep, allocate, write or crash."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    """Read the request as wav2lip.serve.jobs.media_validation does."""
    if sys.argv[1] == "limits":
        import resource

        kinds = resource.RLIMIT_DATA, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE
        print(*(resource.getrlimit(kind)[0] for kind in kinds))
        return
    path = Path(json.loads(sys.argv[1])[0])
    behavior = path.read_text()
    if behavior == "sleep":
        time.sleep(60)
    elif behavior == "allocate":
        bytearray(2 << 30)
    elif behavior == "write":
        path.with_name("written").write_bytes(b"x")
    elif behavior == "crash":
        os.abort()
    print("{}")


if __name__ == "__main__":
    main()
