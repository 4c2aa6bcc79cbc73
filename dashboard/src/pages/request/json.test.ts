import fc from "fast-check";
import { expect, test } from "vitest";
import { pieces, pretty } from "./json.ts";

test("what is written means what was read", () => {
  fc.assert(fc.property(fc.jsonValue(), (value) => {
    const text = JSON.stringify(value);
    const shown = pretty(text);
    if (shown !== null) expect(JSON.stringify(JSON.parse(shown))).toBe(JSON.stringify(JSON.parse(text)));
  }));
});

test("the pieces of any text are the text", () => {
  fc.assert(fc.property(fc.oneof(fc.string({ unit: "binary" }), fc.json()), (text) => {
    expect(pieces(text).map((piece) => piece.text).join("")).toBe(text);
  }));
});

test("a short object stays on its line and a long one does not", () => {
  expect(pretty('{"a":1,"b":["x","y"]}')).toBe('{ "a": 1, "b": ["x", "y"] }');
  expect(pretty(JSON.stringify({ a: "x".repeat(60), b: "y".repeat(60) }))?.split("\n")).toHaveLength(4);
});

test("names, texts, numbers and words have their colours", () => {
  expect(pieces('{"a": "b", "c": -1.5e3, "d": null}').filter((each) => each.kind !== "plain").map((each) => `${each.kind} ${each.text}`)).toEqual(
    ['key "a"', 'string "b"', 'key "c"', "number -1.5e3", 'key "d"', "word null"],
  );
});

test("what is no JSON, or too long, is not touched", () => {
  expect(pretty("{not json")).toBeNull();
  expect(pretty(`"${"x".repeat(30_000)}"`)).toBeNull();
});
