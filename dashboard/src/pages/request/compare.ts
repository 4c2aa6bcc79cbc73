/** What differs between two requests: messages beside each other, and the parameters that are not the same. */
import type { Conversation, Message, Part } from "./api.ts";

export interface Pair {
  left: Message | null;
  right: Message | null;
  isSame: boolean;
}

/** Return a message as one text, to be compared and shown. */
export function textOf(message: Message): string {
  return message.parts.map(partText).filter(Boolean).join("\n\n");
}

function partText(part: Part): string {
  switch (part.kind) {
    case "tool_call":
      return `${part.name ?? "tool"}(${part.arguments})`;
    case "tool_result":
      return part.parts.map(partText).join("\n");
    case "media":
      return `[${part.form}, ${part.media_type}${part.size === null ? "" : `, ${part.size} bytes`}]`;
    case "thinking":
      return part.text ? `(${part.text})` : "";
    default:
      return part.text;
  }
}

const MOST = 400;

/**
 * Put the messages of two requests beside each other: those that both have stay together (longest common subsequence),
 * and what stands between them is paired in order.
 */
export function paired(left: readonly Message[], right: readonly Message[]): Pair[] {
  const mine = left.slice(-MOST);
  const theirs = right.slice(-MOST);
  const a = mine.map(keyOf);
  const b = theirs.map(keyOf);
  const lengths = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      const row = lengths[i] as Uint16Array;
      const below = lengths[i + 1] as Uint16Array;
      row[j] = a[i] === b[j] ? (below[j + 1] ?? 0) + 1 : Math.max(below[j] ?? 0, row[j + 1] ?? 0);
    }
  }
  const pairs: Pair[] = [];
  let alone: [Message[], Message[]] = [[], []];
  const flush = () => {
    for (let at = 0; at < Math.max(alone[0].length, alone[1].length); at += 1) pairs.push({ left: alone[0][at] ?? null, right: alone[1][at] ?? null, isSame: false });
    alone = [[], []];
  };
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const one = mine[i];
    const other = theirs[j];
    if (one && other && a[i] === b[j]) {
      flush();
      pairs.push({ left: one, right: other, isSame: true });
      i += 1;
      j += 1;
    } else if (other && (!one || (lengths[i]?.[j + 1] ?? 0) > (lengths[i + 1]?.[j] ?? 0))) {
      alone[1].push(other);
      j += 1;
    } else if (one) {
      alone[0].push(one);
      i += 1;
    }
  }
  flush();
  return pairs;
}

function keyOf(message: Message): string {
  return `${message.role}\0${textOf(message)}`;
}

export interface Difference {
  name: string;
  left: string | null;
  right: string | null;
}

/** Return the parameters that differ, by name. */
export function parameterDifferences(left: Conversation, right: Conversation): Difference[] {
  const mine = flat(left);
  const theirs = flat(right);
  return [...new Set([...mine.keys(), ...theirs.keys()])]
    .toSorted()
    .map((name) => ({ name, left: mine.get(name) ?? null, right: theirs.get(name) ?? null }))
    .filter((each) => each.left !== each.right);
}

function flat(said: Conversation): Map<string, string> {
  const found = new Map<string, string>();
  for (const [name, value] of Object.entries(said.parameters)) found.set(name, JSON.stringify(value));
  for (const tool of said.tools) found.set(`tool ${tool.name}`, JSON.stringify(tool.schema ?? tool.description));
  return found;
}
