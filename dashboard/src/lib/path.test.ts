import fc from "fast-check";
import { expect, test } from "vitest";
import { query, readSegment, segment } from "./path.ts";

test("every id survives being a segment of a path, in signs that all servers read alike", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", minLength: 1 }), (id) => {
      const written = segment(id);
      expect(written).toMatch(/^[A-Za-z0-9_:.~-]+$/);
      expect([".", ".."]).not.toContain(written);
      expect(readSegment(written)).toBe(id);
    }),
  );
});

test("what is not asked is left out", () => {
  expect(query({ q: "a b", to: null, limit: 0, cols: ["x", "y"], empty: "" })).toBe("?q=a+b&limit=0&cols=x,y");
  expect(query({})).toBe("");
});
