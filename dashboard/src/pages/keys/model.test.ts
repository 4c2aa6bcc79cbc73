import { describe, expect, it } from "vitest";
import { changedOf, draftOf, EMPTY, listed, maskOf, policyOf, problemsOf, snippets, type Budget, type Key } from "./model.ts";

const BUDGET: Budget = { name: null, limit_usd: "5.00", window: "day", rolling: null, timezone: "Europe/Paris", hard: true, per: null, models: ["*-pro"], unbounded: "allow", streams: "auto" };

function key(changes: Partial<Key> = {}): Key {
  return {
    name: "bob", origin: "dynamic", prefix: "gl-", last_four: "abcd", created_ms: 1, revoked_ms: null, upstreams: ["openai"], models: ["gpt-5*", "o3"],
    budgets: [BUDGET], accounts: [null], identities: ["bob/day"], rate_limits: { requests_per_minute: 60, tokens_per_minute: null, concurrent: 2 },
    tags: { team: "search", note: "a=b" }, trust_identity: false, use: { requests_30d: 0, cost_30d_nano_usd: 0, cost_month_nano_usd: 0, last_used_ms: null }, ...changes,
  };
}

describe("a form", () => {
  it("gives back what it was given", () => {
    expect(policyOf(draftOf(key()))).toEqual({
      models: ["gpt-5*", "o3"],
      upstreams: ["openai"],
      budgets: [{ limit_usd: "5", window: "day", timezone: "Europe/Paris", hard: true, models: ["*-pro"], unbounded: "allow", streams: "auto" }],
      rate_limits: { requests_per_minute: 60, tokens_per_minute: null, concurrent: 2 },
      tags: { team: "search", note: "a=b" },
      trust_identity: false,
    });
  });

  it("keeps a rolling window that it has no word for", () => {
    const odd = key({ budgets: [{ ...BUDGET, window: null, rolling: 7200 }] });
    expect(policyOf(draftOf(odd)).budgets).toMatchObject([{ rolling: "7200s" }]);
    const known = key({ budgets: [{ ...BUDGET, window: null, rolling: 86_400 }] });
    expect(policyOf(draftOf(known)).budgets).toMatchObject([{ rolling: "24h" }]);
  });

  it("says what is wrong before it is sent", () => {
    expect(problemsOf({ ...EMPTY, name: "ok" })).toEqual({});
    expect(Object.keys(problemsOf({ ...EMPTY, name: "not so", requestsPerMinute: "many", tags: "x", budgets: [{ ...EMPTY.budgets[0]!, limit: "five" }] }))).toEqual(["name", "limit-0", "rpm", "tags"]);
  });
});

describe("a change", () => {
  it("is what differs, and nothing else", () => {
    const stored = key();
    expect(changedOf(stored, draftOf(stored))).toEqual({});
    expect(changedOf(stored, { ...draftOf(stored), models: "o3" })).toEqual({ models: ["o3"] });
  });
});

describe("words", () => {
  it("are separated by commas, spaces and lines", () => {
    expect(listed(" a, b\nc ,")).toEqual(["a", "b", "c"]);
  });
  it("show of a key its end only", () => {
    expect(maskOf({ prefix: "gl-", last_four: "abcd" })).toBe("gl-…abcd");
    expect(maskOf({ prefix: null, last_four: null })).toBe("hidden");
  });
  it("say where the gateway is", () => {
    expect(snippets("http://127.0.0.1:9", "gl-x", "m").curl).toContain("http://127.0.0.1:9/v1/chat/completions");
  });
});
