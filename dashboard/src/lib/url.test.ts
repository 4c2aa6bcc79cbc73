import fc from "fast-check";
import { expect, test } from "vitest";
import { choice, flag, readState, text, whole, words, writeState } from "./url.ts";

const schema = { q: text(), sort: text("-time"), tab: choice(["a", "b"], "a", "replace"), cols: words(["x", "y"]), live: flag(), page: whole(1) };

test("defaults are not written", () => {
  expect(writeState(schema, "?q=x&sort=cost&live=1", { q: "", sort: "-time", live: false }).search).toBe("");
});

test("filters are steps of the history, tabs are not", () => {
  expect(writeState(schema, "", { q: "status:500" }).history).toBe("push");
  expect(writeState(schema, "", { tab: "b" }).history).toBe("replace");
  expect(writeState(schema, "", { tab: "b", q: "x" }).history).toBe("push");
  expect(writeState(schema, "?q=x", { q: "x", tab: "b" }).history).toBe("replace");
});

test("an address can be read by people", () => {
  expect(writeState(schema, "", { q: "key:bot status:>=400" }).search).toBe("?q=key:bot+status:%3E%3D400");
});

test("what a page does not know stays", () => {
  expect(writeState(schema, "?tz=UTC", { q: "a" }).search).toBe("?tz=UTC&q=a");
});

test("what is not one of the choices is the default", () => {
  expect(readState(schema, "?tab=zzz&page=1e9&live=no")).toEqual({ q: "", sort: "-time", tab: "a", cols: ["x", "y"], live: false, page: 1 });
});

test("every state is read as it was written", () => {
  const state = fc.record({
    q: fc.string({ unit: "binary" }),
    sort: fc.string(),
    tab: fc.constantFrom("a" as const, "b" as const),
    cols: fc.array(fc.stringMatching(/^[a-z.]{1,8}$/), { minLength: 1 }),
    live: fc.boolean(),
    page: fc.integer(),
  });
  fc.assert(
    fc.property(state, (wanted) => {
      const { search } = writeState(schema, "?q=old&other=1", wanted);
      expect(readState(schema, search)).toEqual({ ...wanted });
    }),
  );
});
