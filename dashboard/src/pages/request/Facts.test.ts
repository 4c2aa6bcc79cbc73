import { expect, test } from "vitest";
import { speedOf } from "./Facts.tsx";

test("speed counts from the first token of a stream, and from the beginning otherwise", () => {
  const facts = { output_tokens: 100, duration_ms: 3000, ttft_ms: 1000 };
  expect(speedOf({ ...facts, streaming: true })).toBe(50);
  expect(speedOf({ ...facts, streaming: false })).toBeCloseTo(33.3, 1);
  expect(speedOf({ ...facts, output_tokens: null, streaming: true })).toBeNull();
  expect(speedOf({ ...facts, ttft_ms: 3000, streaming: true })).toBeNull();
});
