import { expect, test } from "vitest";
import type { Feedback } from "./api.ts";
import { refusingBudget, toldBy, withFeedback } from "./words.ts";

test("a refusal names its budget", () => {
  expect(refusingBudget("Budget app/day:gpt-5* (key app) has $1.00 spent of $1.00; this request may need $0.01, $0 would still fit; it does not reset.")).toBe("app/day:gpt-5*");
  expect(refusingBudget("Budget all (callers without a key) has $1.00 spent of $1.00; …")).toBe("all");
  expect(refusingBudget("Rate limit reached")).toBeNull();
  expect(refusingBudget(null)).toBeNull();
});

const given = (more: Partial<Feedback>): Feedback => ({ request: "r", name: "user", value: 1, comment: null, source: "ann", at: 1, is_own: false, ...more });

test("what one says again is said instead, and others keep what they said", () => {
  const others = [given({}), given({ name: "tone", is_own: true })];
  const before = [...others, given({ is_own: true })];
  const bad = given({ is_own: true, value: 0, at: 2 });
  expect(withFeedback(before, bad)).toEqual([...others, bad]);
  expect(withFeedback(before, { ...bad, value: null })).toEqual(others);
});

test("a token is called by its name, and oneself you", () => {
  expect(toldBy(given({ source: "token:shop" }))).toBe("shop");
  expect(toldBy(given({ is_own: true }))).toBe("you");
});
