import { describe, expect, it } from "vitest";
import { hasTerm, joined, quoted, terms, toggled, typing, without, withTerm } from "./filter.ts";

/** Numbers that look random and are the same every time. */
function chance(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const PIECES = ["key:search", "status:>=400", "-model:gpt-4.1", '"late delivery"', "latency:1s..2s", 'user:"ann lee"', "has:cost", "meta.team:(red OR blue)", "(status:5xx OR -(a b))", "OR", "word*", '-"not this"', "it's", "a:b:c", 'say"so"', "ünïcødé"];

function some(seed: number): string[] {
  const next = chance(seed);
  return Array.from({ length: Math.floor(next() * 8) }, () => PIECES[Math.floor(next() * PIECES.length)] ?? "");
}

describe("a filter", () => {
  it("is cut into its terms and put together again", () => {
    for (let seed = 1; seed < 500; seed += 1) {
      const all = some(seed);
      const spaced = all.join(seed % 2 ? " " : "  \t ");
      expect(terms(spaced).map((each) => each.text)).toEqual(all);
      expect(joined(terms(spaced))).toBe(all.join(" "));
    }
  });

  it("says where each term stands, whatever is typed", () => {
    const signs = ['"', "(", ")", " ", ":", "-", "a", "é", "OR", "*"];
    for (let seed = 1; seed < 2_000; seed += 1) {
      const next = chance(seed);
      const text = Array.from({ length: Math.floor(next() * 14) }, () => signs[Math.floor(next() * signs.length)]).join("");
      const all = terms(text);
      for (const each of all) expect(text.slice(each.start, each.start + each.text.length)).toBe(each.text);
      expect(all.map((each) => each.text).join("").replaceAll(/\s/g, "")).toBe(text.replaceAll(/\s/g, ""));
      expect(joined(terms(joined(all)))).toBe(joined(all));
    }
  });

  it("names the field of a term", () => {
    const [status, negated, word, phrase] = terms('status:>=400 -meta.team:red hello "a phrase"');
    expect([status?.field, status?.value]).toEqual(["status", ">=400"]);
    expect([negated?.field, negated?.value, negated?.isNegated]).toEqual(["meta.team", "red", true]);
    expect([word?.field, phrase?.value]).toEqual(["", '"a phrase"']);
  });

  it("loses a term and the OR that it leaves", () => {
    expect(without("a OR b", 0)).toBe("b");
    expect(without("a OR b", 2)).toBe("a");
    expect(without("a OR b OR c", 2)).toBe("a OR c");
    expect(without("x a OR b", 0)).toBe("a OR b");
    expect(without("a", 0)).toBe("");
  });

  it("gets a further term that holds beside all others", () => {
    expect(withTerm("", "failed:true")).toBe("failed:true");
    expect(withTerm("key:a", "failed:true")).toBe("key:a failed:true");
    expect(withTerm("a OR b", "c")).toBe("(a OR b) c");
    expect(withTerm("c", "a OR b")).toBe("c (a OR b)");
    expect(withTerm("", "a OR b")).toBe("a OR b");
  });

  it("has a term or has it not", () => {
    expect(toggled("key:a", "failed:true")).toBe("key:a failed:true");
    expect(toggled("key:a failed:true", "failed:true")).toBe("key:a");
    expect(hasTerm("key:a -failed:true", "failed:true")).toBe(false);
  });

  it("writes values so that they mean themselves", () => {
    expect(["gpt-4.1", "ann lee", "-x", "a*b", "1..2", "OR", ">5", "a:b"].map(quoted)).toEqual(["gpt-4.1", '"ann lee"', '"-x"', '"a*b"', '"1..2"', '"OR"', '">5"', "a:b"]);
    expect(quoted('a"b:c')).toBe('"a*b:c"');
    for (const value of ["gpt-4.1", "ann lee", "-x", "OR", "(x", "a)", 'a"b']) expect(terms(`key:${quoted(value)}`)).toHaveLength(1);
  });

  it("knows what is being typed", () => {
    expect(typing("mod")).toMatchObject({ kind: "field", part: "mod", before: "" });
    expect(typing("key:a -mod")).toMatchObject({ kind: "field", part: "mod", before: "-" });
    expect(typing("model:gp")).toMatchObject({ kind: "value", field: "model", part: "gp", before: "model:" });
    expect(typing("has:co")).toMatchObject({ kind: "field", part: "co", before: "has:" });
    expect(typing("latency:>2")).toMatchObject({ kind: "none" });
    expect(typing("")).toMatchObject({ kind: "field", part: "" });
    expect(typing("model:x ")).toMatchObject({ kind: "field", part: "" });
    expect(typing('"two wor')).toMatchObject({ kind: "none" });
  });
});
