from __future__ import annotations

from tests.admin.conftest import _recorded_once, recorded, start_admin

__all__ = ["_recorded_once", "recorded", "start_admin"]
