import fc from "fast-check";
import { expect, test } from "vitest";
import { chartLines, contributorText, filterFor, measured, sumOf, type Line } from "./costs.ts";

const SUMS = { requests: 10, cost_nano_usd: 2e9, unpriced: 2, input_tokens: 100, cached_input_tokens: 0, cache_write_tokens: 0, output_tokens: 20 };

test("what nobody knows is no zero", () => {
  expect(measured("cost", { ...SUMS, cost_nano_usd: 0 })).toBeNull();
  expect(measured("cost", { ...SUMS, cost_nano_usd: 0, unpriced: 0 })).toBe(0);
  expect(measured("cost_per_request", SUMS)).toBe(0.25);
  expect(measured("cost_per_request", { ...SUMS, unpriced: 10 })).toBeNull();
  expect(measured("cache_saving", { ...SUMS, saving_nano_usd: null })).toBeNull();
});

const line = (name: string | null, costs: number[], isOthers = false): Line => ({
  name, is_others: isOthers, values: isOthers ? 7 : 1, cost_nano_usd: costs, requests: costs.map(() => 1), tokens: costs.map(() => 2), unpriced: costs.map(() => 0),
});

test("others are slate and say how many they are", () => {
  const [first, none, others] = chartLines([line("gpt", [1e9, 0]), line(null, [0, 0]), line(null, [2e9, 0], true)], "cost");
  expect(first).toMatchObject({ name: "gpt", values: [1, 0], total: "$1.00" });
  expect(none?.name).toBe("(none)");
  expect(others).toMatchObject({ name: "7 others", colour: "s5", total: "$2.00" });
});

test("lines add up to the whole", () => {
  fc.assert(
    fc.property(fc.array(fc.array(fc.nat(), { minLength: 3, maxLength: 3 }), { maxLength: 5 }), (costs) => {
      const whole = costs.flat().reduce((sum, value) => sum + value, 0);
      expect(sumOf(costs.map((values) => line("x", values)), "cost_nano_usd")).toBe(whole);
    }),
  );
});

test("contributors are said in words", () => {
  expect(contributorText({ effect: "volume", name: null, nano_usd: 1, before: 100, after: 130 })).toBe("More requests (+30%)");
  expect(contributorText({ effect: "volume", name: null, nano_usd: 1, before: 100, after: 300 })).toBe("More requests (3 times)");
  expect(contributorText({ effect: "mix", name: "gpt", nano_usd: 1, before: 0, after: 0.2 })).toBe("gpt is new");
  expect(contributorText({ effect: "size", name: "gpt", nano_usd: 1, before: 900, after: 2000 })).toBe("More tokens per request of gpt: 900 to 2,000");
  expect(contributorText({ effect: "price", name: "", nano_usd: -1, before: 4, after: 3 })).toBe("A token of (none) costs less (−25%)");
});

test("a filter is given only where one can say the value", () => {
  expect(filterFor("key", "a b")).toBe('key:"a b"');
  expect(filterFor("version", "triage@2")).toBe('prompt:"triage@2"');
  expect(filterFor("user", null)).toBe("user:");
  expect(filterFor("user", 'a"b')).toBeNull();
  expect(filterFor("user", "(other)")).toBeNull();
});
