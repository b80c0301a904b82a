"""What the house answers about requests. Times are Unix seconds of the house."""

from __future__ import annotations

import msgspec

from allegro.core.requests.documents import ReportDocument, RequestDocument
from allegro.core.requests.requests import Line


class RequestBrief(msgspec.Struct, frozen=True, kw_only=True):
    """One line's worth of a request. `owner` is who must act next, None for nobody.

    `artifact` is a pull request's number or a comment's id, 0 for none; `superseded_by` the id of
    the request that was made in its place, empty for none; `noted` what was noted of it by chat.
    """

    id: str
    digest: str = ""
    kind: str = ""
    state: str = ""
    owner: str | None = None
    repository: str = ""
    target: str = ""
    urgency: str = ""
    question: str = ""
    created_s: float = 0.0
    expires_s: float = 0.0
    settled_s: float = 0.0
    detail: str = ""
    artifact: int = 0
    url: str = ""
    commit: str = ""
    branch: str = ""
    order_number: int = 0
    superseded_by: str = ""
    internal: bool = False
    noted: str = ""


class RequestAnswer(RequestBrief, frozen=True, kw_only=True):
    """Answers `GET /v1/requests/ID` and each act on one: a whole request. `action` are the very bytes that are signed, base64 in JSON as `bases` are.

    `bases` maps a path to what stands there at the base commit, None for nothing or too large.
    """

    schema: str = "allegro.request/1"
    action: bytes
    bases: dict[str, bytes | None] = {}
    notes: dict[str, str] = {}
    document: RequestDocument
    approval: str | None = None
    asked_by: str = ""
    history: tuple[Line, ...] = ()
    supersedes: str = ""
    report: ReportDocument


class RequestsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Answers `GET /v1/requests`: the newest 500, newest last."""

    schema: str = "allegro.requests/1"
    requests: tuple[RequestBrief, ...] = ()
