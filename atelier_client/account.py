"""Who I am here, my tokens; and for administrators everybody's accounts, invitations and the audit."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from itertools import islice
from typing import Any

from atelier_client.connection import Connection, Object
from atelier_client.records import Record

SCOPES = (
    "jobs:read",
    "jobs:write",
    "datasets:read",
    "datasets:write",
    "models:read",
    "models:write",
    "admin",
)


class Me(Record):
    """`quota` is what this user may hold, `use` what he holds."""

    id: str
    name: str
    roles: list[str]
    quota: Object
    use: Object
    created_at: str


class Token(Record):
    """An API token. The secret, `token`, is there only in the answer that made it."""

    id: str
    name: str
    prefix: str
    scopes: list[str]
    created_at: str
    expires_at: str | None
    used_at: str | None
    token: str


class Tokens:
    """Needs a token without scopes: a narrow one must not make itself a wider one."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> builtins.list[Token]:
        return [Token(item) for item in self._connection.get("/me/tokens")["items"]]

    def create(
        self, name: str, *, scopes: Sequence[str] = (), expires_days: int | None = None
    ) -> Token:
        """Without scopes it may do all that its owner may. The secret is shown this once."""
        body = {"name": name, "scopes": [*scopes], "expires_days": expires_days}
        return Token(self._connection.ask("POST", "/me/tokens", json=body, repeat=False).json())

    def delete(self, token_id: str) -> None:
        self._connection.delete(f"/me/tokens/{token_id}")


class User(Record):
    """An account: `quota` is what was set for it, `limits` what holds, `use` what it holds."""

    id: str
    name: str
    role: str
    active: bool
    weight: float
    quota: Object
    limits: Object
    use: Object


class Users:
    """For administrators."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> builtins.list[User]:
        return [User(item) for item in self._connection.pages("/users", limit=200)]

    def get(self, user_id: str) -> User:
        return User(self._connection.get(f"/users/{user_id}"))

    def create(self, name: str, *, admin: bool = False) -> User:
        """`link` of the answer sets the password; it works once."""
        body = {"name": name, "admin": admin}
        return User(self._connection.ask("POST", "/users", json=body, repeat=False).json())

    def change(self, user_id: str, **fields: Any) -> User:
        """`active`, `role`, `weight`, `quota`: an object in which None is the installation's default."""
        return User(self._connection.ask("PATCH", f"/users/{user_id}", json=fields).json())

    def link(self, user_id: str) -> str:
        """A new one-time link, for a password that was lost."""
        path = f"/users/{user_id}/link"
        return str(self._connection.ask("POST", path, repeat=False).json()["link"])


class Invitations:
    """For administrators: links with which people make accounts of their own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> builtins.list[Object]:
        return [*self._connection.pages("/invitations", limit=200)]

    def create(self, *, note: str = "", uses: int = 1, expires_days: int = 7) -> Object:
        """`link` of the answer is to be handed out; it cannot be read again."""
        body = {"note": note, "uses": uses, "expires_days": expires_days}
        answer = self._connection.ask("POST", "/invitations", json=body, repeat=False)
        return answer.json()  # type: ignore[no-any-return]

    def delete(self, invitation_id: str) -> None:
        self._connection.delete(f"/invitations/{invitation_id}")


def audit(connection: Connection, limit: int | None, **filters: Any) -> list[Object]:
    size = min(limit or 200, 200)
    return [*islice(connection.pages("/audit", limit=size, **filters), limit)]
