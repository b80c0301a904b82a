"""A report as the house answers it."""

from __future__ import annotations

import msgspec


class ReportAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`text` in the form that was asked for: md, txt, html or json.

    `name` is its day or week. `is_kept`: it is the one that was delivered, not built just now.
    """

    name: str
    form: str
    text: str
    is_kept: bool
    schema: str = "allegro.report.answer/1"
