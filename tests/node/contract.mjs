// What every program here does: take one call a line from stdin, make it with its SDK, answer with one line of JSON.
// The first line says which SDK this is.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

export const QUESTION = "Name three rivers. Schöne Grüße 👋";
export const TOOL = "get_weather";
export const TOOL_DESCRIPTION = "Weather at a place";
export const TOOL_SCHEMA = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const ABORT_AFTER = 5;

/** Answer calls until stdin ends. `scenarios`: by name, an async function of the call. */
export async function serve(name, scenarios) {
  say({ package: name, version: installedVersion(name), scenarios: Object.keys(scenarios).sort() });
  for await (const line of createInterface({ input: process.stdin })) {
    const call = JSON.parse(line);
    let answer;
    try {
      answer = { result: (await scenarios[call.scenario](call)) ?? null };
    } catch (error) {
      answer = { error: describe(error) };
    }
    say(answer);
  }
}

function installedVersion(name) {
  const file = new URL(`node_modules/${name}/package.json`, import.meta.url);
  return JSON.parse(readFileSync(file, "utf8")).version;
}

function say(answer) {
  process.stdout.write(`${JSON.stringify(answer, inOrder)}\n`);
}

/** Objects are written with their names in order, so that two answers can be compared as texts. */
function inOrder(_, value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([first], [second]) => (first < second ? -1 : 1)));
}

/** What an application sees of an exception: its class, status, code and words. */
function describe(error) {
  const inner = error.lastError ?? error;
  const status = error.status ?? inner.statusCode ?? inner.status_code ?? null;
  return {
    type: error.constructor.name,
    bases: classesAbove(error),
    status: typeof status === "number" ? status : null,
    code: typeof error.code === "string" ? error.code : null,
    message: String(error.message),
  };
}

function classesAbove(error) {
  const names = [];
  for (let above = Object.getPrototypeOf(error.constructor); above?.name; above = Object.getPrototypeOf(above)) {
    names.push(above.name);
  }
  return names;
}

/** A scenario with environment variables set from the call: `names` by what they are to hold. */
export function withVariables(names, scenario) {
  return async (call) => {
    for (const [name, part] of Object.entries(names)) process.env[name] = call[part];
    try {
      return await scenario({ ...call, base_url: undefined, api_key: undefined });
    } finally {
      for (const name of Object.keys(names)) delete process.env[name];
    }
  };
}

/** All pieces of a stream. */
export async function collect(pieces) {
  const taken = [];
  for await (const piece of pieces) taken.push(piece);
  return taken;
}

/** How many pieces came before the application left: leaving the loop makes an SDK end the request. */
export async function leave(pieces) {
  let count = 0;
  for await (const _ of pieces) {
    count += 1;
    if (count === ABORT_AFTER) break;
  }
  return count;
}
