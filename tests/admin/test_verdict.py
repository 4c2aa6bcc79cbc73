from __future__ import annotations

import pytest

from proxy.admin.verdict import Recent, Signs, judge
from proxy.stats import ProcessStats


def gateway(
    number: int = 0, *, is_alive: bool = True, is_ready: bool = True, failures: int = 0, lost: int = 0
) -> ProcessStats:
    return ProcessStats(f"gateway-{number}", 100 + number, is_alive, 0, 0, failures, 0.0, is_ready, 0, lost)


def test_nothing_to_report_is_ok() -> None:
    assert judge(Signs()).level == "ok"
    assert judge(Signs(processes=[gateway()], lost={"store": 0}, recorder_lag_s=0.2)).reasons == ()


TROUBLES = [
    (Signs(lost={"bad_frame": 1}), "failing", "records_lost"),
    (Signs(recorder_lag_s=5.1), "degraded", "recorder_lag"),
    (Signs(recorder_lag_s=90.0), "failing", "recorder_lag"),
    (Signs(bad_frames=1), "failing", "journal_damaged"),
    (Signs(processes=[gateway(is_alive=False)]), "failing", "gateway_dead"),
    (Signs(processes=[gateway(0), gateway(1, is_alive=False)]), "degraded", "gateway_dead"),
    (Signs(processes=[gateway(is_ready=False)]), "failing", "gateway_not_ready"),
    (Signs(processes=[gateway(0), gateway(1, is_ready=False)]), "degraded", "gateway_not_ready"),
    (Signs(is_config_good=False), "degraded", "config_refused"),
    (Signs(processes=[gateway(failures=3)]), "degraded", "journal_failures"),
    (Signs(processes=[gateway(lost=1)]), "failing", "records_lost"),
    (Signs(recent=Recent(unpriced=1)), "degraded", "unpriced"),
    (Signs(recent=Recent(unserved=1)), "failing", "unserved"),
    (Signs(free_bytes=900_000_000), "degraded", "disk_low"),
    (Signs(free_bytes=9_000_000, is_full=True), "failing", "disk_full"),
    (Signs(problem="file is not a database"), "failing", "store_unreadable"),
]


@pytest.mark.parametrize(("signs", "level", "code"), TROUBLES)
def test_each_sign_of_trouble_has_its_reason(signs: Signs, level: str, code: str) -> None:
    verdict = judge(signs)
    assert (verdict.level, [reason.code for reason in verdict.reasons]) == (level, [code])


def test_what_is_within_bounds_is_ok() -> None:
    assert judge(Signs(recorder_lag_s=5.0)).level == "ok"


def test_the_worst_reason_comes_first() -> None:
    verdict = judge(Signs(lost={"store": 2}, recent=Recent(unpriced=1), recorder_lag_s=9.0))
    assert [reason.code for reason in verdict.reasons] == ["records_lost", "recorder_lag", "unpriced"]
    assert verdict.reasons[0].text == "2 records lost: store"
