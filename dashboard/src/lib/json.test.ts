import fc from "fast-check";
import { expect, test } from "vitest";
import { JsonModel, pathText } from "./json.ts";

test("with everything open there is a row for each value, and each leads to its value", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const model = new JsonModel(JSON.stringify(value));
      model.setAll(true);
      for (const row of model.rows(0, model.length)) {
        const text = model.value(row.pointer);
        if (row.kind === "string") expect(row.text).toBe(text.slice(0, row.text.length));
        else if (row.kind === "number") expect(Number(text)).toBe(Number(row.text));
      }
      model.setAll(false);
      expect(model.length).toBeLessThanOrEqual(1 + (value !== null && typeof value === "object" ? Object.keys(value).length : 0));
    }),
  );
});

test("what is searched is found wherever it stands, and opened", () => {
  const model = new JsonModel(JSON.stringify({ a: [{ b: { deep: "Needle here" } }], needle: 1, c: "no" }));
  model.setAll(false);
  const { pointers, indexes } = model.search("needle");
  expect(pointers).toEqual(["/a/0/b/deep", "/needle"]);
  expect(indexes.map((index) => model.rows(index, index + 1)[0]?.pointer)).toEqual(pointers);
});

test("10 MB with a list of 50,000 opens without opening the list", () => {
  const text = JSON.stringify({ model: "x", items: Array.from({ length: 50_000 }, (_, at) => ({ at, text: "x".repeat(180) })) });
  expect(text.length).toBeGreaterThan(9_000_000);
  const model = new JsonModel(text);
  expect(model.length).toBe(3);
  model.toggle("/items");
  expect(model.length).toBe(50_003);
});

test("a path is written as programs write it", () => {
  expect(pathText("/messages/0/content")).toBe("messages[0].content");
  expect(pathText("/a~1b/x y")).toBe('["a/b"]["x y"]');
  expect(pathText("")).toBe("");
});
