import fc from "fast-check";
import { expect, test } from "vitest";
import type { Conversation, Message } from "./api.ts";
import { paired, parameterDifferences, textOf } from "./compare.ts";

function said(text: string, role = "user", index = 0): Message {
  return { index, role, name: null, parts: [{ kind: "text", text }], tokens: 1, size: text.length, cut: {} };
}

const talk = fc.array(fc.tuple(fc.constantFrom("user", "assistant"), fc.constantFrom("a", "b", "c")).map(([role, text]) => said(text, role)), { maxLength: 12 });

test("every message of both stands in the comparison once and in its order", () => {
  fc.assert(fc.property(talk, talk, (left, right) => {
    const pairs = paired(left, right);
    expect(pairs.flatMap((pair) => pair.left ?? [])).toEqual(left);
    expect(pairs.flatMap((pair) => pair.right ?? [])).toEqual(right);
    for (const pair of pairs) expect(pair.isSame).toBe(pair.left !== null && pair.right !== null && pair.left.role === pair.right.role && textOf(pair.left) === textOf(pair.right) && pair.isSame);
  }));
});

test("a conversation is the same as itself, and a longer one begins with it", () => {
  fc.assert(fc.property(talk, talk, (left, more) => {
    expect(paired(left, left).every((pair) => pair.isSame)).toBe(true);
    expect(paired(left, [...left, ...more]).filter((pair) => pair.isSame)).toHaveLength(left.length);
  }));
});

test("what was changed stands beside what it was", () => {
  const pairs = paired([said("s", "system"), said("one")], [said("s", "system"), said("two")]);
  expect(pairs.map((pair) => [pair.left && textOf(pair.left), pair.right && textOf(pair.right), pair.isSame])).toEqual([["s", "s", true], ["one", "two", false]]);
});

test("parameters that are not the same are named", () => {
  const of = (parameters: Record<string, unknown>, tools: string[] = []) => ({ parameters, tools: tools.map((name) => ({ name, description: "", schema: {} })) }) as unknown as Conversation;
  expect(parameterDifferences(of({ model: "a", temperature: 1 }, ["f"]), of({ model: "b", temperature: 1, seed: 2 }))).toEqual([
    { name: "model", left: '"a"', right: '"b"' },
    { name: "seed", left: null, right: "2" },
    { name: "tool f", left: "{}", right: null },
  ]);
});
