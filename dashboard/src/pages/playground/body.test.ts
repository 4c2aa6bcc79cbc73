import { describe, expect, it } from "vitest";
import { apiOf, changesOf, isSame, turnsOf, valueAt, withValue, type Change, type Json, type Tree } from "./body.ts";

/** Numbers that are the same in every run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}

function made(next: () => number, depth = 0): Json {
  const kind = Math.floor(next() * (depth > 3 ? 4 : 6));
  if (kind === 0) return null;
  if (kind === 1) return next() > 0.5;
  if (kind === 2) return Math.floor(next() * 5);
  if (kind === 3) return "abc".slice(0, Math.floor(next() * 4));
  const size = Math.floor(next() * 4);
  if (kind === 4) return Array.from({ length: size }, () => made(next, depth + 1));
  return Object.fromEntries(Array.from({ length: size }, (_, at) => ["abcd"[at] as string, made(next, depth + 1)]));
}

/** Carry out edits, as the server does. */
function carriedOut(body: Json, changes: readonly Change[]): Json {
  return changes.reduce((tree, change) => {
    if ("from" in change) {
      const list = valueAt(tree, change.at);
      if (!Array.isArray(list)) return tree;
      return withValue(tree, change.at, [...list.slice(0, change.from), ...change.value, ...list.slice(change.from + change.count)]);
    }
    return withValue(tree, change.at, "remove" in change ? undefined : change.value);
  }, body);
}

describe("edits", () => {
  it("make one body the other, whatever they are", () => {
    const next = random(7);
    for (let turn = 0; turn < 3000; turn += 1) {
      const before = { x: made(next), y: made(next) };
      const after = { x: made(next), y: next() > 0.5 ? before.y : made(next) };
      const changes = changesOf(before, after);
      expect(isSame(carriedOut(before, changes), after)).toBe(true);
      if (isSame(before, after)) expect(changes).toEqual([]);
    }
  });

  it("leave alone what is the same, so that a long history is not sent again", () => {
    const messages = Array.from({ length: 500 }, (_, at) => ({ role: "user", content: `turn ${at}` }));
    const longer = [...messages, { role: "user", content: "one more" }];
    expect(changesOf({ messages }, { messages: longer })).toEqual([{ at: ["messages"], from: 500, count: 0, value: [{ role: "user", content: "one more" }] }]);
    const edited = messages.map((each, at) => (at === 250 ? { ...each, content: "other" } : each));
    expect(changesOf({ messages }, { messages: edited })).toEqual([{ at: ["messages", 250, "content"], value: "other" }]);
    expect(changesOf({ messages }, { messages: messages.filter((_, at) => at !== 3) })).toEqual([{ at: ["messages"], from: 3, count: 1, value: [] }]);
  });
});

describe("turns", () => {
  const bodies: [string, string, Tree][] = [
    ["openai", "chat", { messages: [{ role: "system", content: "s" }, { role: "user", content: [{ type: "text", text: "u" }, { type: "image_url", image_url: { url: "x" } }] }] }],
    ["openai", "responses", { instructions: "s", input: [{ role: "user", content: [{ type: "input_text", text: "u" }, { type: "input_image" }] }] }],
    ["anthropic", "messages", { system: "s", messages: [{ role: "user", content: [{ type: "text", text: "u" }, { type: "image", source: {} }] }] }],
    ["gemini", "generate_content", { systemInstruction: { parts: [{ text: "s" }] }, contents: [{ role: "user", parts: [{ text: "u" }, { inlineData: {} }] }] }],
  ];

  it.each(bodies)("of %s %s say what stands where", (dialect, endpoint, body) => {
    const api = apiOf(dialect, endpoint);
    if (!api) throw new Error("unknown");
    const [system, user] = turnsOf(body, api);
    expect(system?.role).toBe("system");
    expect(user?.role).toBe("user");
    const texts = [...(system?.parts ?? []), ...(user?.parts ?? [])].flatMap((part) => ("text" in part ? [part] : []));
    expect(texts.map((part) => part.text)).toEqual(["s", "u"]);
    expect(user?.parts.filter((part) => "note" in part)).toHaveLength(1);
    for (const part of texts) {
      const changed = withValue(body, part.at, "other");
      expect(valueAt(changed, part.at)).toBe("other");
      expect(valueAt(body, part.at)).toBe(part.text);
    }
  });

  it("take a plain input as one turn", () => {
    const api = apiOf("openai", "responses");
    expect(api && turnsOf({ input: "hi" }, api)).toEqual([{ role: "user", roleAt: null, at: null, parts: [{ at: ["input"], text: "hi" }] }]);
  });

  it("name tool calls instead of showing them as text", () => {
    const api = apiOf("openai", "chat");
    const body = { messages: [{ role: "assistant", content: null, tool_calls: [{ id: "c", type: "function", function: { name: "look_up", arguments: "{}" } }] }] };
    expect(api && turnsOf(body, api)[0]?.parts).toEqual([{ at: ["messages", 0, "tool_calls", 0], note: "calls look_up" }]);
  });
});

describe("places", () => {
  it("are made on the way, and nothing is made to take something away", () => {
    expect(withValue({}, ["generationConfig", "seed"], 3)).toEqual({ generationConfig: { seed: 3 } });
    expect(withValue({ a: 1 }, ["b", "c"], undefined)).toEqual({ a: 1 });
    expect(withValue({ a: { b: 1, c: 2 } }, ["a", "b"], undefined)).toEqual({ a: { c: 2 } });
    expect(valueAt({ a: 1 }, ["__proto__", "x"])).toBe(undefined);
  });
});
