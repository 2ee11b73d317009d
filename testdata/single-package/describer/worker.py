"""Answers questions from standard input, a JSON line each, until the input ends.

The server's process owns this one: signals for the group are ignored here, so that requests
under way are still answered while the server stops.
"""

import base64
import json
import signal
import sys

from describe import describe


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        question = json.loads(line)
        data = question["text"] if "text" in question else base64.b64decode(question["base64"])
        print(json.dumps(describe(data)), flush=True)


if __name__ == "__main__":
    main()
