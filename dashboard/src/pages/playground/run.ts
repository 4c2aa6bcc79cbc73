/** One request of the playground: sent, told line by line, and given up when its caller is. */
import { address } from "../../lib/path.ts";
import { Problem } from "../../lib/api.ts";
import type { Change } from "./body.ts";

export interface RequestFacts {
  id: string;
  started_at: number;
  model: string | null;
  model_requested: string | null;
  upstream: string;
  wire: string;
  status: number | null;
  outcome: string;
  duration_ms: number | null;
  ttft_ms: number | null;
  input_tokens: number | null;
  output_tokens: number | null;
  cost_nano_usd: number | null;
  finish_reason: string | null;
  streaming: boolean;
  key: string | null;
}

export interface Said {
  text: string;
  reasoning: string;
  tool_calls: { id: string | null; name: string | null; arguments: string }[];
  finish_reason: string | null;
  error: string | null;
  model: string | null;
  is_whole: boolean;
}

/** What is sent: `from` and `changes`, or a whole `body`. */
export interface Wanted {
  from?: string;
  upstream?: string;
  path?: string;
  model?: string;
  body?: string;
  changes?: readonly Change[];
}

export type Line =
  | { type: "started"; id: string | null; key: string; status: number; ms: number; error_code: string | null }
  | { type: "text"; more: string; ms: number }
  | { type: "thinking"; reasoning: string; ms: number }
  | { type: "done"; said: Said; bytes: number; ms: number; broken: string | null }
  | { type: "record"; request: RequestFacts }
  | { type: "failed"; message: string };

/** Where a run stands. */
export interface Run {
  /** In this page only. */
  number: number;
  /** What was chosen; "" is what the request names. */
  model: string;
  upstream: string;
  state: "waiting" | "running" | "done" | "failed" | "cancelled";
  text: string;
  thinking: string;
  startedMs: number;
  firstMs: number | null;
  ms: number | null;
  status: number | null;
  errorCode: string | null;
  id: string | null;
  said: Said | null;
  request: RequestFacts | null;
  problem: string | null;
}

export function newRun(number: number, model: string, upstream: string): Run {
  return {
    number, model, upstream, state: "waiting", text: "", thinking: "", startedMs: 0, firstMs: null, ms: null, status: null,
    errorCode: null, id: null, said: null, request: null, problem: null,
  };
}

/** Return a run with one more line heard. */
export function heard(run: Run, line: Line): Run {
  switch (line.type) {
    case "started":
      return { ...run, state: "running", status: line.status, id: line.id, errorCode: line.error_code };
    case "text":
      return { ...run, text: run.text + line.more, thinking: "", firstMs: run.firstMs ?? line.ms, ms: line.ms };
    case "thinking":
      return { ...run, thinking: line.reasoning, firstMs: run.firstMs ?? line.ms, ms: line.ms };
    case "done": {
      const isBad = line.broken !== null || line.said.error !== null || (run.status ?? 200) >= 400;
      return { ...run, state: isBad ? "failed" : "done", text: line.said.text, thinking: "", said: line.said, ms: line.ms, problem: line.broken ?? line.said.error };
    }
    case "record":
      return { ...run, request: line.request };
    case "failed":
      return { ...run, state: "failed", problem: line.message };
  }
}

/** Cut what has arrived into lines; what is left belongs to the next. */
export function cut(text: string): { lines: Line[]; rest: string } {
  const parts = text.split("\n");
  const rest = parts.pop() ?? "";
  return { lines: parts.filter(Boolean).map((part) => JSON.parse(part) as Line), rest };
}

/** Send a request and tell every line. Ends early, at the provider too, when `signal` says so. */
export async function send(wanted: Wanted, signal: AbortSignal, tell: (line: Line) => void): Promise<void> {
  const url = address("/api/playground/runs");
  const answer = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(wanted), signal });
  if (!answer.ok || !answer.body) {
    const told = (await answer.json().catch(() => ({}))) as { error?: { code?: string; message?: string } };
    throw new Problem(answer.status, told.error?.code ?? "error", told.error?.message ?? `HTTP ${answer.status}`, null, url);
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const found = cut(rest + value);
    rest = found.rest;
    found.lines.forEach(tell);
  }
}
