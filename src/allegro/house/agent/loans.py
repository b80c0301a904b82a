"""Models lent to programs: asked for, their token handed over, taken back."""

from __future__ import annotations

from allegro.core.authority.actions.agent import LendModel
from allegro.core.base.errors import EdgeError
from allegro.core.base.events import decode_event
from allegro.core.base.untrusted import read_value
from allegro.core.protocol.answers.sessions import LentModel, LoanAnswer
from allegro.core.protocol.event_types import EventType
from allegro.core.protocol.queries import RevokeLoan
from allegro.core.requests.requests import Request
from allegro.house.ports import AskLane, Ports
from allegro.house.requests.asking import Origin, Terms
from allegro.house.requests.requests import Requests


class Loans:
    """A loan is a request; its token comes sealed in the receipt of its lane."""

    def __init__(self, ports: Ports, requests: Requests, ask_lane: AskLane) -> None:
        self._archive = ports.archive
        self._clock = ports.clock
        self._open_words = ports.open_words
        self._requests = requests
        self._ask_lane = ask_lane

    async def lend(self, action: LendModel, asked_by: str) -> Request:
        """Ask for a token for a lane's model proxy."""
        terms = Terms(f"Lend the model {action.model}", "review", self._clock.now_s() + 120)
        return await self._requests.propose_act(action, terms, Origin(asked_by))

    async def revoke(self, id_: str) -> bool:
        """Take a lent model back. Raises EdgeError when its lane cannot be reached."""
        request = self._requests.find_exact(id_)
        if request is None or request.kind != "lend_model":
            raise EdgeError(f"no loan {id_}", transient=False, kind="not_found")
        query = RevokeLoan(loan=id_)
        return await self._ask_lane(request.lane, query.name, query.params()) is True

    async def loan_of(self, request: Request) -> LoanAnswer:
        """Return the token that a lane sealed to us for a loan. Raises EdgeError when it is gone."""
        rows = await self._archive.events(
            0, 20, prefix=EventType.ACTION_RECEIPT, subject=f"session:{request.id}"
        )
        for archived in rows:
            lent = read_value(self._open_words(decode_event(archived.stored)), LentModel)
            if archived.lane == request.lane and isinstance(lent, LentModel) and lent.token:
                return LoanAnswer(
                    id=request.id,
                    token=lent.token,
                    model=lent.model,
                    expires_s=lent.expires_s,
                    lane=request.lane,
                )
        raise EdgeError("the lane's token did not come", transient=True)
