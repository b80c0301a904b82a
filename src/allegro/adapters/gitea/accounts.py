"""What a forge says of itself, of its users and of a token."""

from __future__ import annotations

from allegro.adapters.gitea import wire
from allegro.adapters.gitea.differences import tells_own_token
from allegro.adapters.gitea.http import decode, quote
from allegro.adapters.gitea.repositories import Repositories
from allegro.core.base.errors import EdgeError
from allegro.core.base.untrusted import names_of
from allegro.core.forge.token_audit import Identity


class AccountReads(Repositories):
    """Accounts, tokens and the forge's clock."""

    async def date_s(self) -> int:
        return (await self._http.call("GET", "/version")).date_s

    async def stores_lfs(self) -> bool:
        """Say whether the forge may keep files by LFS: it does, unless it says that it does not."""
        try:
            settings = await self._http.get("/settings/repository", wire.WireSettings)
        except EdgeError as error:
            if error.transient:
                raise
            return True
        return settings.lfs_disabled is not True

    async def whoami(self, token: str | None = None, *, scopes: bool = True) -> Identity:
        answer = await self._http.call("GET", "/user", token=token)
        user = decode(answer, wire.User, "/user")
        login = self._http.clean(user.login)
        held = await self._scopes(token) if scopes else None
        return Identity(user.id, login, user.is_admin, held)

    async def user_id(self, login: str) -> int | None:
        user = await self._http.find(f"/users/{quote(login)}", wire.User)
        return None if user is None else user.id

    async def _scopes(self, token: str | None) -> tuple[str, ...] | None:
        if not tells_own_token((await self._learn_server(token)).version):
            return None
        try:
            answer = await self._http.call("GET", "/token", token=token)
        except EdgeError as error:
            if error.kind in {"not_found", "forbidden", "not_allowed"}:
                return None
            raise
        scopes = decode(answer, wire.WireToken, "/token").scopes
        return names_of(scopes) if isinstance(scopes, list) else None
