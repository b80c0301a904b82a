"""Serves the small local model over OpenAI's API until it is ended. Runs on its own Python.

python local_model.py FILE PORT
"""

from __future__ import annotations

import sys
import time

import xllamacpp  # type: ignore[import-not-found]  # in an environment of its own


def main() -> None:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = sys.argv[1]
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = int(sys.argv[2])
    parameters.n_ctx = 8192
    parameters.n_parallel = 1
    parameters.use_jinja = True
    parameters.model_alias = ["small"]
    server = xllamacpp.Server(parameters)
    assert server.listening_address
    time.sleep(600)  # a test never takes longer


if __name__ == "__main__":
    main()
