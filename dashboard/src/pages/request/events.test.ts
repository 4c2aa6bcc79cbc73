import fc from "fast-check";
import { expect, test } from "vitest";
import { eventsAsJson } from "./events.ts";

test("the data of every event comes out in its order, whatever ends the lines", () => {
  const end = fc.constantFrom("\n", "\r\n");
  fc.assert(
    fc.property(fc.array(fc.jsonValue(), { minLength: 1, maxLength: 6 }), end, (values, line) => {
      const text = values.map((value) => `event: x${line}data: ${JSON.stringify(value)}${line}${line}`).join("");
      const found = JSON.parse(eventsAsJson(text) ?? "null") as unknown[];
      // Bare numbers and words are shown as they stand: no API sends them as the data of an event.
      const shown = values.map((value) => (typeof value === "object" && value !== null) || typeof value === "string" ? value : JSON.stringify(value));
      expect(JSON.stringify(found)).toBe(JSON.stringify(shown));
    }),
  );
});

test("what is no JSON is a text, and what has no data is left out", () => {
  expect(eventsAsJson(": comment\n\ndata: [DONE]\n\ndata: {broken\n\n")).toBe('["[DONE]","{broken"]');
});

test("a body that is no stream is none", () => {
  expect(eventsAsJson('{"data": 1}')).toBeNull();
  expect(eventsAsJson("")).toBeNull();
});
