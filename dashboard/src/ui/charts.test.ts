import { expect, test } from "vitest";
import { linePath } from "./Sparkline.tsx";

test("a gap is a gap, and a value alone between two is a dot", () => {
  expect(linePath([1, null, 1, null, 1, 1], 100, 54, 1)).toBe("M0.0 4.0h.01M40.0 4.0h.01M80.0 4.0L100.0 4.0");
});
