"""What a running Hub says of its servers, asked over its API."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tornado.httpclient import HTTPClient, HTTPClientError

from podmanspawner.answers import one_line
from podmanspawner.errors import PodmanSpawnerError

if TYPE_CHECKING:
    from podmanspawner.orphans import Orphan

SCOPES = ("admin:server_state", "list:users", "read:servers")
"""Of the token: who there is, which servers they have, which containers these are in."""
_SECONDS = 30.0
_PAGES = "application/jupyterhub-pagination+json"
_TRIES = 3


class HubError(PodmanSpawnerError):
    """The Hub cannot be asked, or says nothing that could be acted on."""


@dataclass(frozen=True)
class Active:
    """The servers that a Hub starts, runs, checks or stops, at one moment."""

    servers: frozenset[tuple[str, str]]
    """Their users and names."""
    containers: frozenset[str]
    """Their ids, of those that the Hub knows one of."""

    def owns(self, orphan: Orphan) -> bool:
        """Whether one of them owns a container; also by its id, since users can be renamed."""
        name = (orphan.server.username, orphan.server.servername)
        return name in self.servers or orphan.container.id in self.containers


@dataclass(frozen=True)
class RunningHub:
    """A Hub, and a token that it knows."""

    url: str
    """Of its API, such as ``http://127.0.0.1:8081/hub/api``."""
    token: str

    def demand_scopes(self) -> None:
        """Refuse a token that does not see all servers: what it hides would seem to be nobody's.

        Raises:
            HubError: it does not, or the Hub cannot be asked.
        """
        granted = self._get("user").get("scopes")
        missing = [scope for scope in SCOPES if scope not in (granted or ())]
        if missing:
            raise HubError(
                f"The token for {self.url} has not the scopes {', '.join(missing)}. Give its "
                f"owner a role with scopes {', '.join(SCOPES)}, for all users, in "
                "c.JupyterHub.load_roles"
            )

    def active(self) -> Active:
        """Return the servers that the Hub starts, runs, checks or stops now.

        Raises:
            HubError: the Hub cannot be asked.
        """
        for _ in range(_TRIES):
            users, total = self._users()
            if len(users) == total:  # else some came or went between two pages
                break
        else:
            raise HubError(f"The users at {self.url} change too fast to be listed. Try again")
        servers, containers = set(), set()
        for username, own in users.items():
            for name, server in own.items():
                servers.add((username, name))
                state = server.get("state") or {}
                containers.add(state.get("child_state", state).get("container_id", ""))
        return Active(frozenset(servers), frozenset(containers - {""}))

    def _users(self) -> tuple[dict[str, dict[str, Any]], int]:
        """Return all users with their active servers, and how many the Hub says there are."""
        users: dict[str, dict[str, Any]] = {}
        offset: int | None = 0
        while offset is not None:
            page = self._get("users", offset=offset, limit=200)
            try:
                users |= {user["name"]: user["servers"] for user in page["items"]}
                total, following = page["_pagination"]["total"], page["_pagination"]["next"]
                offset = following and following["offset"]
            except (KeyError, TypeError) as error:
                raise HubError(f"{self._what_it_is()} It sent no list of users") from error
        return users, total

    def _get(self, path: str, **query: int) -> dict[str, Any]:
        """Ask for something and return it. The token goes nowhere else: redirects are refused."""
        client = HTTPClient()
        try:
            answer = client.fetch(
                f"{self.url.rstrip('/')}/{path}?{urlencode(query)}",
                headers={"Authorization": f"token {self.token}", "Accept": _PAGES},
                request_timeout=_SECONDS,
                follow_redirects=False,
            )
            found = json.loads(answer.body)
        except HTTPClientError as error:
            raise HubError(self._refusal(error.code, one_line(str(error)))) from error
        except (OSError, ValueError) as error:
            raise HubError(f"{self._what_it_is()} {one_line(str(error))}") from error
        finally:
            client.close()
        if not isinstance(found, dict):
            raise HubError(f"{self._what_it_is()} It sent no object")
        return found

    def _refusal(self, code: int, said: str) -> str:
        if code in (401, 403):
            return (
                f"The Hub at {self.url} does not take the token ({said}). Give one that it knows: "
                "--token or JUPYTERHUB_API_TOKEN"
            )
        return f"{self._what_it_is()} {said}"

    def _what_it_is(self) -> str:
        return (
            f"No Hub's API answers at {self.url}. Start the Hub, or say where it is: --hub-url or "
            "JUPYTERHUB_API_URL."
        )
