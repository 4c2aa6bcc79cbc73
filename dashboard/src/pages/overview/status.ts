/** The verdict and its tiles, as the server tells them. */
import { pageOf } from "../../lib/path.ts";
import type { Level } from "../../ui/Status.tsx";

export type State = "ok" | "warning" | "critical" | "unjudged" | "silent" | "none";

export interface RequestsLink {
  label: string;
  q: string;
  from: number;
  to: number;
}

export interface Cause {
  dimension: string;
  value: string;
  bad: number;
  of_bad: number;
  q: string | null;
}

export interface StatusTile {
  name: "error_rate" | "latency" | "cost";
  label: string;
  state: State;
  word: string;
  value: number | null;
  text: string;
  warn: number | null;
  rule: string;
  sample: string;
  difference: string;
  is_worse: boolean | null;
  note: string;
  series: { at: number[]; values: (number | null)[] };
  link: RequestsLink;
}

export interface Observed {
  verdict: "ok" | "degraded" | "failing";
  headline: { state: State; text: string; detail: string; cause: Cause | null; link: RequestsLink | null };
  tiles: StatusTile[];
  looked_at: number;
  every_s: number;
}

const LEVELS: Record<State, Level> = { ok: "ok", warning: "warn", silent: "warn", critical: "bad", unjudged: "none", none: "none" };

export function levelOf(state: State): Level {
  return LEVELS[state];
}

/** Where a link of the verdict leads. */
export function hrefOf(link: RequestsLink): string {
  return pageOf.requests(link.q, { from: link.from, to: link.to });
}

/** Take the unit off a figure, so that it can be written small: "8.40 s" is "8.40" and "s". */
export function splitUnit(text: string): readonly [number: string, unit: string] {
  const match = /^([^\s%]+)(%| (?:ms|s))$/.exec(text);
  return match ? [match[1] ?? text, (match[2] ?? "").trim()] : [text, ""];
}
