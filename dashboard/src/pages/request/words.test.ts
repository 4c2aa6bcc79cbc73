import { expect, test } from "vitest";
import { refusingBudget } from "./words.ts";

test("a refusal names its budget", () => {
  expect(refusingBudget("Budget app/day:gpt-5* (key app) has $1.00 spent of $1.00; this request may need $0.01, $0 would still fit; it does not reset.")).toBe("app/day:gpt-5*");
  expect(refusingBudget("Budget all (callers without a key) has $1.00 spent of $1.00; …")).toBe("all");
  expect(refusingBudget("Rate limit reached")).toBeNull();
  expect(refusingBudget(null)).toBeNull();
});
