import { expect, test } from "vitest";
import { splitUnit } from "./status.ts";

test("a figure is parted from its unit, and one with two units stays whole", () => {
  expect(splitUnit("0.47%")).toEqual(["0.47", "%"]);
  expect(splitUnit("8.40 s")).toEqual(["8.40", "s"]);
  expect(splitUnit("612 ms")).toEqual(["612", "ms"]);
  expect(splitUnit("2 min 14 s")).toEqual(["2 min 14 s", ""]);
  expect(splitUnit("$12.84")).toEqual(["$12.84", ""]);
  expect(splitUnit("–")).toEqual(["–", ""]);
});
