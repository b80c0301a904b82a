"""Acts around an agent's session, in canonical form: begin one, answer its question, lend a model."""

from __future__ import annotations

import re

import msgspec

from allegro.core.authority.actions.family import Action, Delivery, Family, Key, LaneNeed
from allegro.core.base.backoff import SESSION

MAX_PROMPT_BYTES = 256 * 1024
MAX_HISTORY = 400
MAX_TOOLS = 64
MAX_SESSION_S = 86_400
MAX_LEND_S = 3_600
ROLES = ("user", "assistant")
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/+-]{0,127}")
_TOOL = re.compile(r"[a-z][a-z0-9_]{0,31}")
_ISSUE = re.compile(
    r"(?!\.{1,2}/)[A-Za-z0-9_.-]{1,100}/(?!\.{1,2}#)[A-Za-z0-9_.-]{1,100}#[1-9][0-9]{0,9}"
)
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Turn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One earlier turn of a conversation: `role` is user or assistant."""

    role: str
    text: str


class Quote(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Foreign text that goes into a prompt as data: where it is from, who wrote it."""

    source: str
    author: str
    text: str


class RunSession(Action, frozen=True, kw_only=True, tag_field="kind", tag="run_session"):
    """Begin one session. The action's id is the session's id.

    `model` empty is the lane's default. `tools` None is what the lane's configuration switches
    on; a tuple is exactly these. `quotes` are foreign text: with any, the session has no network
    unless `network` says so. `issue` (owner/name#1) names where its progress is shown.
    """

    prompt: str
    instructions: str = ""
    history: tuple[Turn, ...] = ()
    quotes: tuple[Quote, ...] = ()
    model: str = ""
    tools: tuple[str, ...] | None = None
    network: bool = False
    issue: str = ""
    limit_s: int = 3600


class AnswerOnce(Action, frozen=True, kw_only=True, tag_field="kind", tag="answer_once"):
    """Let exactly one pending question of one run pass, once.

    `run` is the agent's own id of the run, `number` counts the questions of the session from 1,
    `question` is `question_digest` of what was asked.
    """

    lane: str
    session: str
    run: str
    number: int
    question: str


class LendModel(Action, frozen=True, kw_only=True, tag_field="kind", tag="lend_model"):
    """Make a token for the lane's model proxy: one model, short-lived, with a cap of its own."""

    model: str
    lives_s: int = 900
    max_tokens: int = 200_000


SessionAction = RunSession | AnswerOnce | LendModel


def session_faults(action: SessionAction) -> list[str]:
    """Return every reason why this action can never be carried out, as sentences."""
    match action:
        case RunSession():
            return _run_faults(action)
        case AnswerOnce():
            return _answer_faults(action)
        case _:
            return _lend_faults(action)


def _run_faults(action: RunSession) -> list[str]:
    faults = []
    if not action.prompt.strip():
        faults.append("prompt must not be empty")
    texts = [action.prompt, action.instructions]
    texts += [turn.text for turn in action.history]
    texts += [quote.text + quote.source + quote.author for quote in action.quotes]
    if sum(len(text.encode("utf-8", "replace")) for text in texts) > MAX_PROMPT_BYTES:
        faults.append(
            f"prompt, history and quotes together must not exceed {MAX_PROMPT_BYTES} bytes"
        )
    if len(action.history) > MAX_HISTORY or len(action.quotes) > MAX_HISTORY:
        faults.append(f"history and quotes must not be longer than {MAX_HISTORY} each")
    if any(turn.role not in ROLES for turn in action.history):
        faults.append(f"role of a turn must be one of {', '.join(ROLES)}")
    if action.model and not MODEL_NAME.fullmatch(action.model):
        faults.append(f"not a model's name: {action.model!r}")
    bad = [tool for tool in action.tools or () if not _TOOL.fullmatch(tool)]
    if len(action.tools or ()) > MAX_TOOLS:
        faults.append(f"tools must not be more than {MAX_TOOLS}")
    elif bad:
        faults.append(f"not a tool's name: {', '.join(map(repr, bad))}")
    if action.issue and not _ISSUE.fullmatch(action.issue):
        faults.append("issue must be like owner/name#12")
    if not 1 <= action.limit_s <= MAX_SESSION_S:
        faults.append(f"limit_s must be 1 to {MAX_SESSION_S}")
    return faults


def _answer_faults(action: AnswerOnce) -> list[str]:
    faults = []
    names = (action.session, action.run, action.lane)
    if not all(0 < len(name) <= 200 and name.isprintable() for name in names):
        faults.append("lane, session and run must be named")
    if action.number < 1:
        faults.append("number must be above 0")
    if not _SHA256.fullmatch(action.question):
        faults.append("question must be a hex SHA-256")
    return faults


def _lend_faults(action: LendModel) -> list[str]:
    faults = []
    if not MODEL_NAME.fullmatch(action.model):
        faults.append(f"not a model's name: {action.model!r}")
    if not 1 <= action.lives_s <= MAX_LEND_S:
        faults.append(f"lives_s must be 1 to {MAX_LEND_S}")
    if not 1 <= action.max_tokens <= 100_000_000:
        faults.append("max_tokens must be 1 to 100000000")
    return faults


def session_subject(session: str) -> str:
    """Name a session or a loan, as events name it."""
    return f"session:{session}"


def _subject(action: SessionAction) -> str:
    return session_subject(action.session if isinstance(action, AnswerOnce) else action.id)


def _need(action: SessionAction) -> LaneNeed:
    if isinstance(action, AnswerOnce):
        return LaneNeed(f"lane {action.lane}", lane=action.lane)
    begins = isinstance(action, RunSession)
    return LaneNeed("run_session" if begins else "lend_model", role="hermes", fills=begins)


def _delivery(action: SessionAction, digest: str, key: Key) -> Delivery:
    return Delivery("", key("marker", digest)[:32])


AGENT = Family(
    name="agent",
    types=(RunSession, AnswerOnce, LendModel),
    faults=session_faults,
    subject=_subject,
    place=lambda action: None,
    need=_need,
    delivery=_delivery,
    delivery_fault=lambda action, delivery: None,
    code=frozenset(),
    repeats=False,
    pause=SESSION,
    if_rejected="the agent is told no and goes on",
)
