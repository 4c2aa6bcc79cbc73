/**
 * The filter grammar as far as the filter bar needs it: where a term begins and ends, and which field it asks.
 *
 * What a filter means is the server's business (docs/filters.md). Here a text is cut into terms and put together again,
 * and joining the terms of a text gives the text, but for the spaces between them.
 */

export interface Term {
  /** As it is written. */
  text: string;
  /** Where it begins in the whole text. */
  start: number;
  /** "" for words, groups and connecting words. */
  field: string;
  /** What comes after the field; the whole term where there is none. */
  value: string;
  isNegated: boolean;
  /** OR or AND, which stand between terms. */
  isWord: boolean;
}

const FIELD = /^(-?)([A-Za-z_][\w.-]*):/;

/** Cut a filter into the terms that stand beside each other; what is in parentheses or quotation marks stays together. */
export function terms(text: string): Term[] {
  const found: Term[] = [];
  let at = 0;
  while (at < text.length) {
    if (/\s/.test(text[at] ?? "")) {
      at += 1;
      continue;
    }
    const end = endOf(text, at);
    found.push(term(text.slice(at, end), at));
    at = end;
  }
  return found;
}

/** Where the term that begins at `start` ends. A quotation mark or parenthesis that is not closed runs to the end. */
function endOf(text: string, start: number): number {
  let depth = 0;
  let at = start;
  while (at < text.length) {
    const sign = text[at] ?? "";
    const opens = at === start || !/[^\s(:-]/.test(text[at - 1] ?? "");
    if (sign === '"' && opens) {
      const close = text.indexOf('"', at + 1);
      if (close < 0) return text.length;
      at = close + 1;
      continue;
    }
    if (sign === "(" && opens) depth += 1;
    else if (sign === ")" && depth > 0) depth -= 1;
    else if (/\s/.test(sign) && depth === 0) return at;
    at += 1;
  }
  return at;
}

function term(text: string, start: number): Term {
  const match = FIELD.exec(text);
  return {
    text,
    start,
    field: match?.[2] ?? "",
    value: match ? text.slice(match[0].length) : text,
    isNegated: match ? match[1] === "-" : text.startsWith("-") && text.length > 1,
    isWord: text === "OR" || text === "AND",
  };
}

/** Put terms together. */
export function joined(all: readonly Pick<Term, "text">[]): string {
  return all.map((each) => each.text).join(" ");
}

/** Return a filter without one of its terms, and without the OR that would be left over. */
export function without(text: string, index: number): string {
  const all = terms(text);
  const isWord = (at: number) => all[at]?.isWord ?? true;
  const drop = new Set([index]);
  if (all[index + 1]?.isWord && isWord(index - 1)) drop.add(index + 1);
  else if (all[index - 1]?.isWord && isWord(index + 1)) drop.add(index - 1);
  return joined(all.filter((_, at) => !drop.has(at)));
}

/** Return a filter with a further term. What may hold an OR at its top is put into parentheses, for all terms must hold. */
export function withTerm(text: string, added: string): string {
  const has = (filter: string) => terms(filter).some((each) => each.text === "OR");
  const safe = (filter: string) => (has(filter) ? `(${filter})` : filter);
  return [safe(text.trim()), text.trim() ? safe(added.trim()) : added.trim()].filter(Boolean).join(" ");
}

/** Say whether a filter has this very term at its top. */
export function hasTerm(text: string, wanted: string): boolean {
  return terms(text).some((each) => each.text === wanted);
}

/** Return a filter with a term, or without it if it has it. */
export function toggled(text: string, wanted: string): string {
  const at = terms(text).findIndex((each) => each.text === wanted);
  return at < 0 ? withTerm(text, wanted) : without(text, at);
}

/** Write a value so that it means itself. No filter can say a quotation mark: `*` stands for it. */
export function quoted(value: string): string {
  const isPlain = /^[^\s()"<>=*-][^\s()"*]*$/.test(value) && !value.includes("..") && value !== "OR" && value !== "AND";
  return isPlain ? value : `"${value.replaceAll('"', "*")}"`;
}

/** What is being typed at the caret: a field, or a value of a field. */
export interface Typing {
  kind: "field" | "value" | "none";
  /** In front of what is typed and kept: "-", or "has:". */
  before: string;
  field: string;
  /** What is typed so far. */
  part: string;
}

/** Return what the last term of a text is about to become. */
export function typing(text: string): Typing {
  const last = terms(text).at(-1);
  if (!last || /\s$/.test(text)) return { kind: "field", before: "", field: "", part: "" };
  const minus = last.isNegated ? "-" : "";
  if (last.field === "has") return { kind: "field", before: `${minus}has:`, field: "", part: last.value };
  if (last.field) {
    const isChoice = !/^["(<>=]/.test(last.value) && !last.value.includes("..");
    return isChoice ? { kind: "value", before: `${minus}${last.field}:`, field: last.field, part: last.value } : { kind: "none", before: "", field: last.field, part: "" };
  }
  const part = last.isNegated ? last.text.slice(1) : last.text;
  return /^[A-Za-z_][\w.-]*$/.test(part) ? { kind: "field", before: minus, field: "", part } : { kind: "none", before: "", field: "", part: "" };
}
