"""The report says what was measured, no more; and a gate that was not measured is not passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.chaos import report
from tests.faults.chaos.gates import GATES, Gate, Scale, Verdict
from tests.faults.chaos.report import BEGIN, DOCUMENT, END, Finding, measure, render


def gate(name: str, verdict: Verdict | Exception) -> Gate:
    def measured(_: Scale) -> Verdict:
        if isinstance(verdict, Exception):
            raise verdict
        return verdict

    return Gate(name, f"Title of {name}", "nothing less", measured)


def finding(made: Gate, scale: Scale) -> Finding:
    return measure(made, scale, "abc1234")


def test_what_holds_what_does_not_and_what_could_not_be_run_are_told_apart() -> None:
    made = [
        gate("good", Verdict(holds=True, seen="0 of 10")),
        gate("bad", Verdict(holds=False, seen="3 of 10")),
        gate("absent", Verdict(holds=None, seen="no such disk here")),
        gate("broken", ValueError("the seed\nand more")),
    ]
    text = render([*((each, finding(each, Scale(0.5, 7))) for each in made), (GATES[0], None)], "a machine")
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in text.splitlines() if line.startswith("| ")}
    assert "| 0 of 10 | yes |" in rows["Title of good"]
    assert "commit abc1234, seed 7, 50% of the full size" in rows["Title of good"]
    assert "| 3 of 10 | **no** |" in rows["Title of bad"]
    assert "| no such disk here | not run |" in rows["Title of absent"]
    assert "| failed: ValueError: the seed | **no** |" in rows["Title of broken"]
    assert "not measured" in rows[GATES[0].title]


def test_the_section_is_put_where_the_old_one_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = tmp_path / "reliability.md"
    document.write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\nAfter.\n")
    monkeypatch.setattr(report, "DOCUMENT", document)
    report.write(f"{BEGIN}\nnew\n{END}")
    assert document.read_text() == f"# Before\n\n{BEGIN}\nnew\n{END}\n\nAfter.\n"


def test_the_document_shows_every_gate_and_none_that_fails() -> None:
    shown = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    for each in GATES:
        [row] = [line for line in shown.splitlines() if line.startswith(f"| {each.title} |")]
        assert "**no**" not in row, row


def test_names_of_gates_are_unique_and_a_part_is_a_part() -> None:
    assert len({each.name for each in GATES}) == len(GATES)
    assert [Scale(part, 1).count(1000) for part in (1.0, 0.1, 0.0001)] == [1000, 100, 1]
