from __future__ import annotations

from tests.admin.conftest import start_admin

__all__ = ["start_admin"]
