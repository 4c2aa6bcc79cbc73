/**
 * Bodies of requests as people edit them: turns of a conversation and a few parameters, whatever the API.
 *
 * Nothing is translated: a turn knows where its text stands in the body, and an edit changes that place alone. What no
 * rule here knows stays as it is, and can be edited as JSON.
 */

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type Tree = { [name: string]: Json };
export type Step = string | number;
export type Place = readonly Step[];

/** A part of a turn: a text that can be edited, or something that is only named. */
export type Part = { at: Place; text: string } | { at: Place; note: string };

export interface Turn {
  role: string;
  /** Where its role can be changed; null: it has none of its own. */
  roleAt: Place | null;
  /** The turn itself, to take it away; null: it cannot go. */
  at: Place | null;
  parts: readonly Part[];
}

export interface Api {
  /** Roles that a turn may have. */
  roles: readonly string[];
  /** The list of turns. */
  list: Place;
  /** A new turn. */
  made(role: string, text: string): Json;
}

/** Say how conversations of an API are written; null: nobody here knows, and JSON is left. */
export function apiOf(dialect: string | null, endpoint: string): Api | null {
  if (dialect === "openai" && endpoint === "chat") return { roles: ["system", "developer", "user", "assistant", "tool"], list: ["messages"], made: (role, text) => ({ role, content: text }) };
  if (dialect === "openai" && endpoint === "responses") return { roles: ["system", "developer", "user", "assistant"], list: ["input"], made: (role, text) => ({ role, content: text }) };
  if (dialect === "anthropic" && endpoint === "messages") return { roles: ["user", "assistant"], list: ["messages"], made: (role, text) => ({ role, content: text }) };
  if (dialect === "gemini" && endpoint === "generate_content") return { roles: ["user", "model"], list: ["contents"], made: (role, text) => ({ role, parts: [{ text }] }) };
  if (dialect === "ollama" && endpoint === "chat") return { roles: ["system", "user", "assistant", "tool"], list: ["messages"], made: (role, text) => ({ role, content: text }) };
  return null;
}

/** Return the turns of a conversation, instructions first. */
export function turnsOf(body: Tree, api: Api): Turn[] {
  const turns: Turn[] = [];
  for (const [name, role] of [["system", "system"], ["instructions", "system"]] as const) {
    const value = body[name];
    if (value !== undefined && value !== null) turns.push({ role, roleAt: null, at: null, parts: partsOf(value, [name]) });
  }
  for (const name of ["systemInstruction", "system_instruction"]) {
    const value = body[name];
    if (isTree(value)) turns.push({ role: "system", roleAt: null, at: null, parts: partsOf(value.parts ?? null, [name, "parts"]) });
  }
  const list = body[String(api.list[0])];
  if (typeof list === "string") turns.push({ role: "user", roleAt: null, at: null, parts: [{ at: api.list, text: list }] });
  if (Array.isArray(list)) list.forEach((item, index) => turns.push(turnOf(item, [...api.list, index])));
  return turns;
}

function turnOf(item: Json, at: Place): Turn {
  if (!isTree(item)) return { role: "user", roleAt: null, at, parts: partsOf(item, at) };
  const role = typeof item.role === "string" ? item.role : null;
  const inner = "content" in item ? "content" : "parts" in item ? "parts" : null;
  const parts: Part[] = inner ? partsOf(item[inner] ?? null, [...at, inner]) : [];
  if (Array.isArray(item.tool_calls)) item.tool_calls.forEach((call, index) => parts.push({ at: [...at, "tool_calls", index], note: toolNote(call) }));
  if (!inner && typeof item.type === "string") parts.push({ at, note: toolNote(item) });
  return { role: role ?? (typeof item.type === "string" ? item.type : "user"), roleAt: role === null ? null : [...at, "role"], at, parts };
}

function partsOf(value: Json, at: Place): Part[] {
  if (typeof value === "string") return [{ at, text: value }];
  if (!Array.isArray(value)) return value === null ? [] : [{ at, note: noteOf(value) }];
  return value.map((part, index): Part => {
    const place = [...at, index];
    if (typeof part === "string") return { at: place, text: part };
    if (isTree(part) && typeof part.text === "string" && !("thought" in part)) return { at: [...place, "text"], text: part.text };
    return { at: place, note: noteOf(part) };
  });
}

function toolNote(call: Json): string {
  if (!isTree(call)) return "tool call";
  const inner = isTree(call.function) ? call.function : call;
  return typeof inner.name === "string" ? `calls ${inner.name}` : String(call.type ?? "tool call").replaceAll("_", " ");
}

function noteOf(part: Json): string {
  if (!isTree(part)) return typeof part;
  if (part.type === "tool_use" || "functionCall" in part) return toolNote(isTree(part.functionCall) ? part.functionCall : part);
  if (part.type === "tool_result" || "functionResponse" in part) return "result of a tool";
  if (typeof part.type === "string") return part.type.replaceAll("_", " ");
  return Object.keys(part).find((name) => name !== "thoughtSignature")?.replace(/([A-Z])/g, " $1").toLowerCase() ?? "part";
}

/** A parameter as a field shows it. */
export interface Param {
  label: string;
  at: Place;
  kind: "number" | "whole" | "flag" | "word";
  options?: readonly string[];
  help?: string;
}

const TEMPERATURE: Param = { label: "Temperature", at: ["temperature"], kind: "number" };
const TOP_P: Param = { label: "Top p", at: ["top_p"], kind: "number" };
const STREAM: Param = { label: "Stream", at: ["stream"], kind: "flag" };
const EFFORT = ["none", "minimal", "low", "medium", "high", "xhigh"];

/** Return the parameters that an API commonly takes. */
export function paramsOf(dialect: string | null, endpoint: string, body: Tree): readonly Param[] {
  if (dialect === "gemini") {
    const inside = (label: string, name: string, kind: Param["kind"]): Param => ({ label, at: ["generationConfig", name], kind });
    return [inside("Temperature", "temperature", "number"), inside("Top p", "topP", "number"), inside("Most output tokens", "maxOutputTokens", "whole"), inside("Seed", "seed", "whole")];
  }
  if (dialect === "anthropic") return [TEMPERATURE, TOP_P, { label: "Most output tokens", at: ["max_tokens"], kind: "whole" }, STREAM];
  if (endpoint === "responses") {
    return [TEMPERATURE, TOP_P, { label: "Most output tokens", at: ["max_output_tokens"], kind: "whole" }, { label: "Reasoning effort", at: ["reasoning", "effort"], kind: "word", options: EFFORT }, STREAM];
  }
  const limit = "max_completion_tokens" in body ? "max_completion_tokens" : "max_tokens";
  return [TEMPERATURE, TOP_P, { label: "Most output tokens", at: [limit], kind: "whole" }, { label: "Seed", at: ["seed"], kind: "whole" }, { label: "Reasoning effort", at: ["reasoning_effort"], kind: "word", options: EFFORT }, STREAM];
}

// --- places --------------------------------------------------------------------------------------------------------

export function isTree(value: Json | undefined): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Return what stands at a place; undefined: nothing. */
export function valueAt(body: Json, at: Place): Json | undefined {
  let found: Json | undefined = body;
  for (const step of at) {
    if (Array.isArray(found) && typeof step === "number") found = found[step];
    else if (isTree(found) && typeof step === "string") found = Object.hasOwn(found, step) ? found[step] : undefined;
    else return undefined;
  }
  return found;
}

/** Return the body with another value at a place; undefined takes away what stands there. What is missing on the way is made. */
export function withValue(body: Json, at: Place, value: Json | undefined): Json {
  const [step, ...rest] = at;
  if (step === undefined) return value ?? null;
  if (typeof step === "number") {
    const list = Array.isArray(body) ? [...body] : [];
    if (!rest.length && value === undefined) list.splice(step, 1);
    else list[step] = withValue(list[step] ?? null, rest, value);
    return list;
  }
  const tree: Tree = isTree(body) ? { ...body } : {};
  if (!rest.length && value === undefined) delete tree[step];
  else if (rest.length && value === undefined && !isTree(tree[step]) && !Array.isArray(tree[step])) return tree;
  else tree[step] = withValue(tree[step] ?? null, rest, value);
  return tree;
}

// --- edits ---------------------------------------------------------------------------------------------------------

/** An edit as the server carries it out. */
export type Change = { at: Place; value: Json } | { at: Place; remove: true } | { at: Place; from: number; count: number; value: Json[] };

export function isSame(one: Json | undefined, other: Json | undefined): boolean {
  if (one === other) return true;
  if (Array.isArray(one) && Array.isArray(other)) return one.length === other.length && one.every((item, index) => isSame(item, other[index]));
  if (!isTree(one) || !isTree(other)) return false;
  const names = Object.keys(one);
  return names.length === Object.keys(other).length && names.every((name) => Object.hasOwn(other, name) && isSame(one[name], other[name]));
}

/** Return the edits that make one body the other: none for what is the same, so that a long history is not sent again. */
export function changesOf(before: Json, after: Json, at: Place = []): Change[] {
  if (isSame(before, after)) return [];
  if (isTree(before) && isTree(after)) {
    const gone = Object.keys(before).filter((name) => !Object.hasOwn(after, name));
    const kept = Object.keys(after).flatMap((name): Change[] => {
      const value = after[name] as Json;
      return Object.hasOwn(before, name) ? changesOf(before[name] as Json, value, [...at, name]) : [{ at: [...at, name], value }];
    });
    return [...gone.map((name): Change => ({ at: [...at, name], remove: true })), ...kept];
  }
  if (Array.isArray(before) && Array.isArray(after) && at.length) return listChanges(before, after, at);
  return [{ at, value: after }];
}

function listChanges(before: Json[], after: Json[], at: Place): Change[] {
  if (before.length === after.length) return after.flatMap((item, index) => changesOf(before[index] as Json, item, [...at, index]));
  const shorter = Math.min(before.length, after.length);
  let front = 0;
  while (front < shorter && isSame(before[front], after[front])) front += 1;
  let back = 0;
  while (back < shorter - front && isSame(before[before.length - 1 - back], after[after.length - 1 - back])) back += 1;
  return [{ at, from: front, count: before.length - front - back, value: after.slice(front, after.length - back) }];
}
