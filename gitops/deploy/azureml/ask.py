"""Questions to one deployment of an endpoint, whatever traffic it has."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from gitops import jsontext
from gitops.deploy.ask import Answer
from gitops.deploy.azureml.az import Az
from gitops.errors import ToolError

_SECONDS = 60.0
_KEYS = ("accessToken", "access_token", "primaryKey", "primary_key")
# What Azure says (424) where the container's answer wasn't a 200, and what that answer was:
# https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints
_MODEL_ERROR, _STATUS = 424, "ms-azureml-model-error-statuscode"


@dataclass
class Caller:
    """Asks endpoints over HTTPS; tokens are fetched when they are needed, and kept in memory."""

    az: Az
    tokens: dict[str, str] = field(default_factory=dict)

    def ask(
        self, endpoint: str, uri: str, deployment: str, body: bytes | Mapping[str, Any]
    ) -> Answer:
        """Ask a deployment by its name.

        Raises:
            ToolError: nothing answers, or nobody lets us in.
        """
        raw = body if isinstance(body, bytes) else json.dumps(body, allow_nan=False).encode()
        for _ in range(2):
            known = endpoint in self.tokens
            answer = self._post(uri, raw, deployment, self._token(endpoint))
            if answer.status != 401 or not known:
                break
            del self.tokens[endpoint]  # it has expired
        if answer.status in (401, 403):
            raise ToolError(
                f"{endpoint} doesn't let us in ({answer.status})",
                fix="who deploys needs the right onlineEndpoints/score/action: Contributor has it",
            )
        return answer

    def _token(self, endpoint: str) -> str:
        if endpoint not in self.tokens:
            found = self.az.ml("online-endpoint", "get-credentials", "--name", endpoint) or {}
            self.tokens[endpoint] = next((str(found[key]) for key in _KEYS if found.get(key)), "")
        return self.tokens[endpoint]

    def _post(self, uri: str, raw: bytes, deployment: str, token: str) -> Answer:
        at = urlsplit(uri)
        plain = at.scheme == "http" and at.hostname in ("127.0.0.1", "localhost")
        made = http.client.HTTPConnection if plain else http.client.HTTPSConnection
        connection = made(at.hostname or "", at.port, timeout=_SECONDS)
        headers = {
            "content-type": "application/json",
            "authorization": f"Bearer {token}",
            "azureml-model-deployment": deployment,
        }
        try:
            connection.request("POST", at.path or "/", raw, headers)
            answer = connection.getresponse()
            said, status = answer.read(), answer.status
            if status == _MODEL_ERROR:
                status = int(answer.getheader(_STATUS) or status)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ToolError(
                f"{uri} doesn't answer: {error}",
                fix="see az ml online-deployment get-logs; a private endpoint is reached only from"
                " inside its network",
            ) from error
        finally:
            connection.close()
        try:
            return Answer(status, jsontext.loads(said))
        except ValueError:
            return Answer(status, said.decode("utf-8", "replace"))
