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
