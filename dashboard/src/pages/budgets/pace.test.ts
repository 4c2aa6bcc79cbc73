import fc from "fast-check";
import { expect, test } from "vitest";
import type { Budget } from "./budget.ts";
import { paceChart } from "./pace.ts";

const DAY = 86_400_000;
const budget = (limit: number, rate: number): Budget => ({
  budget: "all", scope: "", is_hard: true, limit_nano_usd: limit, spent_nano_usd: 0, reserved_nano_usd: 0, remaining_nano_usd: limit,
  overrun_nano_usd: 0, window_start: 0, resets_at: 10 * DAY, rolling_ms: null, key: null, window: "week", timezone: "UTC", models: [], per: null,
  pace: { elapsed: 0.5, lately_nano_usd: rate * DAY, lately_ms: DAY, projected_nano_usd: null, runs_out_at: null, state: "ok", text: "" },
});

test("a constant rate draws a straight line to the end of the window", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1000 }), (rate) => {
      const at = [0, DAY, 2 * DAY, 5 * DAY];
      const chart = paceChart(budget(1e15, rate), { at, nano_usd: at.map((time) => time * rate) }, 5 * DAY);
      const ahead = chart.series[1]?.values ?? [];
      expect(chart.times.at(-1)).toBe(10 * DAY);
      expect(ahead.at(-1)).toBeCloseTo((10 * DAY * rate) / 1e9, 6);
      expect(chart.series.every((line) => line.values.length === chart.times.length)).toBe(true);
    }),
  );
});

test("a limit far above is not drawn, and one that is near is", () => {
  const spent = { at: [0, 5 * DAY], nano_usd: [0, 50e9] };
  expect(paceChart(budget(100e9, 100), spent, 5 * DAY).isLimitShown).toBe(true);
  expect(paceChart(budget(100_000e9, 100), spent, 5 * DAY).isLimitShown).toBe(false);
});
