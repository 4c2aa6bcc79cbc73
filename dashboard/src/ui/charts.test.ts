import fc from "fast-check";
import { expect, test } from "vitest";
import { linePath } from "./Sparkline.tsx";
import { stack, timeLabels } from "./TimeChart.tsx";

test("a gap is a gap, and a value alone between two is a dot", () => {
  expect(linePath([1, null, 1, null, 1, 1], 100, 54, 1)).toBe("M0.0 4.0h.01M40.0 4.0h.01M80.0 4.0L100.0 4.0");
});

test("bars stand on each other: the top of the stack is the sum, and a gap stays one", () => {
  const values = fc.array(fc.option(fc.nat(1000)), { minLength: 5, maxLength: 5 });
  fc.assert(
    fc.property(fc.array(values, { minLength: 1, maxLength: 6 }), (series) => {
      const stacked = stack(series.map((each) => ({ values: each })), 5);
      for (let at = 0; at < 5; at += 1) {
        const column = series.map((each) => each[at] ?? null);
        const tops = stacked.map((each) => each[at] ?? null);
        expect(tops.map((top) => top === null)).toEqual(column.map((value) => value === null));
        expect(Math.max(0, ...tops.map((top) => top ?? 0))).toBe(column.reduce<number>((sum, value) => sum + (value ?? 0), 0));
      }
    }),
  );
});

test("a day that is counted in UTC bears its date wherever somebody looks from", () => {
  const days = [20, 21].map((day) => Date.UTC(2020, 10, day) / 1000);
  for (const zone of ["UTC", "America/Los_Angeles", "Asia/Tokyo"]) expect(timeLabels(days, zone)).toEqual(["20 Nov 2020", "21 Nov 2020"]);
  const hours = [0, 6].map((hour) => Date.UTC(2020, 10, 20, hour) / 1000);
  expect(timeLabels(hours, "UTC")).toEqual(["20 Nov 2020", "06:00"]);
});
