import fc from "fast-check";
import { expect, test } from "vitest";
import { colours, OTHERS } from "./series.ts";

test("names of one chart have different colours as long as there are enough, and keep them", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string(), { minLength: 1, maxLength: 12 }), (names) => {
      const given = colours(names);
      const own = [...given.values()].filter((colour) => colour !== OTHERS);
      expect(new Set(own).size).toBe(own.length);
      expect(own.length).toBe(Math.min(names.length, 6));
      expect(colours(names)).toEqual(given);
    }),
  );
});

test("a name for which there was no colour left gets one in a smaller chart", () => {
  const names = ["one", "two", "three", "four", "five", "six", "seven"];
  expect([...colours(names).values()].filter((colour) => colour === OTHERS)).toHaveLength(1);
  for (const name of names) expect(colours([name]).get(name)).not.toBe(OTHERS);
});
