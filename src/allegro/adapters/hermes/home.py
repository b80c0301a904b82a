"""The one template of HERMES_HOME: every default of Hermes that breaks our rules is set here."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import msgspec

from allegro.adapters.sandbox.boundary import HERMES_HOME, Handed

MODEL_PORT = 8000
CONNECT_PORT = 3128
API_PORT = 8642
CONTROL_SOCKET = "gateway.sock"
PLUGIN_YAML = b'name: allegro\nversion: "1"\ndescription: telemetry for the lane\n'


class Template(msgspec.Struct, frozen=True):
    """What differs between gateways. `token` is for the model proxy, good for one session."""

    token: str
    tools: tuple[str, ...]
    models: tuple[str, ...]
    question_timeout_s: int
    context_tokens: int
    max_tokens: int
    model_port: int = MODEL_PORT


def config(template: Template) -> bytes:
    """Return config.yaml (JSON is YAML), with what must not happen switched off in words."""
    base_url = f"http://127.0.0.1:{template.model_port}/v1"
    first = template.models[0] if template.models else "none"
    model = {
        "default": first,
        "provider": "custom",
        "base_url": base_url,
        "api_key": template.token,
        "context_length": template.context_tokens,
        "max_tokens": template.max_tokens,
    }
    routes = {
        name: {"model": name, "provider": "custom", "base_url": base_url, "api_key": template.token}
        for name in template.models
    }
    values = {
        "model": model,
        "platform_toolsets": {"api_server": list(template.tools)},
        "platforms": {"api_server": {"enabled": True, "extra": {"model_routes": routes}}},
        **_fixed(template.question_timeout_s),
    }
    return json.dumps(values, indent=1).encode()


def _fixed(question_timeout_s: int) -> dict[str, Any]:
    """Return what is the same in every version: what would act, ask or look outside by itself is off.

    A version that does not know a name passes it over; docs/hermes.md says which version each is for.
    """
    return {
        "fallback_providers": [],
        "approvals": {
            "mode": "manual",
            "timeout": question_timeout_s,
            "cron_mode": "deny",
            "single_query_mode": "deny",
            "unattended_mode": "deny",
        },
        "memory": {"memory_enabled": False, "user_profile_enabled": False, "nudge_interval": 0},
        "skills": {"creation_nudge_interval": 0},
        "auxiliary": {
            "title_generation": {"enabled": False},
            "background_review": {"enabled": False},
        },
        "agent": {"max_turns": 100, "restart_drain_timeout": 0, "auto_recovery_cycles": 0},
        "tools": {"tool_search": {"enabled": "off"}, "connectors": {"enabled": False}},
        "gateway": {"api_server": {"max_concurrent_runs": 1}, "multiplex_profiles": False},
        "security": {"allow_lazy_installs": False},
        "telemetry": {"shared_metrics": {"enabled": False, "send": False}},
        "model_catalog": {"enabled": False},
        "updates": {"check": False},
        "plugins": {"enabled": ["allegro"], "auto_update_check_hours": 0},
        "kanban": {"dispatch_in_gateway": False},
        "curator": {"enabled": False},
        "logging": {"level": "WARNING"},
        "sessions": {"auto_prune": True, "retention_days": 1},
    }


def home_files(template: Template) -> tuple[Handed, ...]:
    """Return the files of a fresh HERMES_HOME; all of them read-only to the agent.

    Newer versions listen on a control socket without a key, which every tool could reach. An empty
    file stands in its place: in the sandbox a mount, which nobody can remove.
    """
    return (
        Handed("config.yaml", config(template)),
        Handed(CONTROL_SOCKET, b""),
        Handed("plugins/allegro/plugin.yaml", PLUGIN_YAML),
        Handed("plugins/allegro/__init__.py", _own("plugin.py")),
    )


def inside_script() -> bytes:
    """Return the program that runs first inside."""
    return resources.files("allegro.adapters.sandbox").joinpath("inside.py").read_bytes()


def in_home(path: str) -> str:
    return f"{HERMES_HOME}/{path}"


def _own(name: str) -> bytes:
    return resources.files("allegro.adapters.hermes").joinpath(name).read_bytes()
