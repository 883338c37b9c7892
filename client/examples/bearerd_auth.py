"""cozepy with tokens of bearerd:

    from cozepy import Coze
    from bearerd_auth import BearerdAuth

    coze = Coze(auth=BearerdAuth("bot"), base_url="https://api.coze.cn")

cozepy asks before each request. The daemon answers from memory, so keep no copy of the token.
"""

import http.client
import json
import os
import socket
import time
from urllib.parse import quote

import cozepy

SOCKET = os.environ.get("BEARERD_SOCKET", "/run/bearerd/bearerd.sock")
PATIENCE = 2  # seconds for a daemon that is being restarted


class BearerdError(Exception):
    """What bearerd said: what happened, and what to do next."""


class Connection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)


class BearerdAuth(cozepy.SyncAuth):
    """The tokens of one credential, or of one end user (subject) below it."""

    token_type = "Bearer"

    def __init__(self, credential, subject=""):
        self.path = f"/v1/token/{quote(credential, safe='')}?subject={quote(subject, safe='')}"

    @property
    def token(self):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return self.ask()
            except OSError as e:
                if time.monotonic() > end:
                    raise BearerdError(f"no answer from bearerd at {SOCKET}: {e}") from e
            time.sleep(0.1)

    def ask(self):
        connection = Connection("localhost", timeout=60)
        try:
            connection.request("GET", self.path, headers={"Accept": "text/plain"})
            response = connection.getresponse()
            body = response.read().decode()
        finally:
            connection.close()
        if response.status != 200:
            raise BearerdError(json.loads(body)["error_description"])
        return body
