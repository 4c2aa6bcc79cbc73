import { describe, expect, it } from "vitest";
import { costOf, eachOf, filled } from "./api.ts";

const HOUR = 3_600_000;
const sums = { requests: 1, errors: 0, unpriced: 0, cost_nano_usd: 5, input_tokens: 1, output_tokens: 1 };

describe("filled", () => {
  it("has a point for each step of the range, and keeps those that are known", () => {
    const points = [{ start: 2 * HOUR, ...sums }];
    const found = filled({ from: HOUR + 5, to: 4 * HOUR, step_ms: HOUR, points });
    expect(found.map((point) => point.start)).toEqual([HOUR, 2 * HOUR, 3 * HOUR]);
    expect(found.map((point) => point.requests)).toEqual([0, 1, 0]);
  });

  it("begins with the first point where that is earlier", () => {
    expect(filled({ from: 3 * HOUR, to: 4 * HOUR, step_ms: HOUR, points: [{ start: 2 * HOUR, ...sums }] })).toHaveLength(2);
  });
});

describe("costOf", () => {
  it("is unknown when nothing has a price, and never zero then", () => {
    expect(costOf({ ...sums, unpriced: 1, cost_nano_usd: 0 })).toBeNull();
    expect(costOf({ ...sums, unpriced: 0, cost_nano_usd: 0 })).toBe(0);
    expect(costOf({ ...sums, unpriced: 1, cost_nano_usd: 7 })).toBe(7);
  });
});

describe("eachOf", () => {
  it("leaves out what has no price, as the cost explorer does", () => {
    expect(eachOf({ requests: 10, unpriced: 2, cost_nano_usd: 16 })).toBe(2);
    expect(eachOf({ requests: 2, unpriced: 2, cost_nano_usd: 0 })).toBeNull();
  });
});
