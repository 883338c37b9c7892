"""cozepy with tokens of bearerd:

    from cozepy import Coze
    from bearerd_auth import BearerdAuth

    coze = Coze(auth=BearerdAuth("bot"), base_url="https://api.coze.cn")

cozepy asks before each request. The daemon answers from memory, so keep no copy of the token. When the API refuses it
(a CozeAPIError with the code 4100 or 700012006), say because it was revoked, call reject() of BearerdAuth and try again.
"""

import hashlib
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
        self.last = self.rejected = ""

    def reject(self):
        """The API has refused the last token: the next one is another."""
        self.rejected = "&rejected=" + hashlib.sha256(self.last.encode()).hexdigest()[:16]

    @property
    def token(self):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.last, self.rejected = self.ask(), ""
                return self.last
            except OSError as e:
                if time.monotonic() > end:
                    raise BearerdError(f"no answer from bearerd at {SOCKET}: {e}") from e
            time.sleep(0.1)

    def ask(self):
        connection = Connection("localhost", timeout=60)
        try:
            connection.request("GET", self.path + self.rejected, headers={"Accept": "text/plain"})
            response = connection.getresponse()
            body = response.read().decode()
        finally:
            connection.close()
        if response.status != 200:
            raise BearerdError(json.loads(body)["error_description"])
        return body
