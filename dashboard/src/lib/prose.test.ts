import { Marked } from "marked";
import { expect, test } from "vitest";
import { canBeRendered } from "./prose.ts";

test("ordinary texts are rendered, also long ones", () => {
  expect(canBeRendered("")).toBe(true);
  expect(canBeRendered("Some **bold** words, *often* enough, and so on and on. ".repeat(300))).toBe(true);
  expect(canBeRendered(`${"word ".repeat(30_000)}\n* one\n* two`)).toBe(true);
  expect(canBeRendered("x".repeat(200_001))).toBe(false);
});

test("what would take minutes is not, and the most that is takes no more than a moment", () => {
  for (const attack of ["_a", "**a", "*a _b "]) {
    const most = [100_000, 50_000, 20_000, 15_000, 10_000].find((length) => canBeRendered(attack.repeat(length / attack.length)));
    expect(most).toBeLessThanOrEqual(20_000);
    new Marked({ gfm: true, async: false }).parse(attack.repeat((most ?? 0) / attack.length));
  }
});
