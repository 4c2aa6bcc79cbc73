import { expect, test } from "vitest";
import { keyFilter, offered, ownerName, promisedShare, rangeOf, spentShare, windowName, type Budget } from "./budget.ts";

const BUDGET: Budget = {
  budget: "all", scope: "", is_hard: true, limit_nano_usd: 100, spent_nano_usd: 40, reserved_nano_usd: 10,
  remaining_nano_usd: 50, overrun_nano_usd: 0, window_start: 1, resets_at: 2, rolling_ms: null, key: null, window: "month",
  timezone: "UTC", models: [], per: null,
  pace: { elapsed: 0.5, lately_nano_usd: 0, lately_ms: 1, projected_nano_usd: null, runs_out_at: null, state: "ok", text: "" },
};

test("a limit of nothing is spent", () => {
  expect([spentShare(BUDGET), promisedShare(BUDGET)]).toEqual([0.4, 0.1]);
  expect([spentShare({ ...BUDGET, limit_nano_usd: 0 }), promisedShare({ ...BUDGET, limit_nano_usd: 0 })]).toEqual([1, 0]);
});

test("windows and owners are said in words", () => {
  expect(windowName(BUDGET)).toBe("month");
  expect(windowName({ ...BUDGET, timezone: "Europe/Paris" })).toBe("month, Europe/Paris");
  expect(windowName({ ...BUDGET, rolling_ms: 86_400_000, window: "rolling" })).toBe("last 24 h");
  expect(windowName({ ...BUDGET, rolling_ms: 600_000, window: "rolling" })).toBe("last 10 min");
  expect(windowName({ ...BUDGET, window: "total" })).toBe("in all");
  expect(ownerName(BUDGET)).toBe("all traffic");
  expect(ownerName({ ...BUDGET, key: "app" })).toBe("key app");
  expect(ownerName({ ...BUDGET, scope: "ann", per: "user" })).toBe("user ann");
});

test("who spends leads to what the window counts", () => {
  expect(keyFilter(BUDGET)).toBe("");
  expect(keyFilter({ ...BUDGET, key: "a b" })).toBe('key:"a b"');
  expect(keyFilter({ ...BUDGET, per: "key", scope: "app" })).toBe("key:app");
  expect(keyFilter({ ...BUDGET, per: "user", scope: "ann" })).toBe("");
  expect(rangeOf(BUDGET)).toEqual({ from: "1" });
  expect(rangeOf({ ...BUDGET, window_start: null, rolling_ms: 86_400_000 })).toEqual({ from: "now-1440m" });
  expect(rangeOf({ ...BUDGET, window_start: null, rolling_ms: 90_000 })).toEqual({ from: "now-90s" });
  expect(rangeOf({ ...BUDGET, window_start: null })).toEqual({ from: "now-90d" });
});

test("the window that is shown is offered, however many there are", () => {
  const scopes = [{ scope: "ann", spent_nano_usd: 1 }];
  expect(offered(scopes, { scope: "ann", spent_nano_usd: 1 })).toBe(scopes);
  expect(offered(scopes, { scope: "zoe", spent_nano_usd: 2 })).toEqual([{ scope: "zoe", spent_nano_usd: 2 }, ...scopes]);
});
