/** JSON as coloured pieces: for the short documents inside a conversation. */

export interface Piece {
  kind: "key" | "string" | "number" | "word" | "plain";
  text: string;
}

const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|\b(true|false|null)\b/g;
const LONGEST = 20_000;
const WIDTH = 88;

/** Return a JSON text as people write it: short objects on one line. Null: it is no JSON, or too long to be coloured. */
export function pretty(text: string): string | null {
  if (text.length > LONGEST) return null;
  try {
    return written(JSON.parse(text) as unknown, 0);
  } catch {
    return null;
  }
}

function written(value: unknown, depth: number): string {
  const flat = oneLine(value);
  if (flat.length + depth * 2 <= WIDTH || value === null || typeof value !== "object" || depth > 60) return flat;
  const inner = "  ".repeat(depth + 1);
  const end = "  ".repeat(depth);
  if (Array.isArray(value)) return value.length ? `[\n${value.map((each) => inner + written(each, depth + 1)).join(",\n")}\n${end}]` : "[]";
  const entries = Object.entries(value);
  return `{\n${entries.map(([name, each]) => `${inner}${JSON.stringify(name)}: ${written(each, depth + 1)}`).join(",\n")}\n${end}}`;
}

function oneLine(value: unknown): string {
  if (Array.isArray(value)) return value.length ? `[${value.map(oneLine).join(", ")}]` : "[]";
  if (value !== null && typeof value === "object") {
    const entries = Object.entries(value);
    return entries.length ? `{ ${entries.map(([name, each]) => `${JSON.stringify(name)}: ${oneLine(each)}`).join(", ")} }` : "{}";
  }
  return JSON.stringify(value) ?? "null";
}

/** Cut a JSON text at its tokens; together they are the text. */
export function pieces(text: string): Piece[] {
  const found: Piece[] = [];
  let at = 0;
  for (const match of text.matchAll(TOKEN)) {
    if (match.index > at) found.push({ kind: "plain", text: text.slice(at, match.index) });
    const [whole, quoted, colon, number] = match;
    if (quoted !== undefined) {
      found.push({ kind: colon === undefined ? "string" : "key", text: quoted });
      if (colon !== undefined) found.push({ kind: "plain", text: colon });
    } else found.push({ kind: number === undefined ? "word" : "number", text: whole });
    at = match.index + whole.length;
  }
  if (at < text.length) found.push({ kind: "plain", text: text.slice(at) });
  return found;
}
