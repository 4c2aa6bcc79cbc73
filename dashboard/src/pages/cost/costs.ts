/** Costs, as the server tells them, and what is computed from them for showing. */
import { colours, OTHERS } from "../../lib/series.ts";
import type { Series } from "../../ui/TimeChart.tsx";
import { money, moneyNano, percent, short } from "../../lib/format.ts";

export const MEASURES = ["cost", "requests", "tokens", "cost_per_request", "cache_saving"] as const;
export type Measure = (typeof MEASURES)[number];
export const MEASURE_NAMES: Record<Measure, string> = {
  cost: "Cost", requests: "Requests", tokens: "Tokens", cost_per_request: "Cost per request", cache_saving: "Saved by caches",
};

export const GROUPINGS = ["model", "key", "user", "upstream", "provider", "endpoint", "environment", "prompt", "version", "session"] as const;
export const GROUPING_NAMES: Record<string, string> = {
  model: "Model", key: "Key", user: "User", upstream: "Upstream", provider: "Provider", endpoint: "Endpoint",
  environment: "Environment", prompt: "Prompt", version: "Prompt version", session: "Session", "key,model": "Key and model",
};

export interface Sums {
  requests: number;
  cost_nano_usd: number;
  unpriced: number;
  input_tokens: number;
  cached_input_tokens: number;
  cache_write_tokens: number;
  output_tokens: number;
}

export interface CostRow extends Sums {
  group: (string | null)[];
  saving_nano_usd: number | null;
  previous: Sums | null;
}

export interface Costs {
  by: string[];
  from: number;
  to: number;
  previous_from: number | null;
  rows: CostRow[];
  total: CostRow;
}

export interface Line {
  /** null: the requests have none. */
  name: string | null;
  is_others: boolean;
  values: number;
  cost_nano_usd: number[];
  requests: number[];
  tokens: number[];
  unpriced: number[];
}

export interface CostSeries {
  from: number;
  to: number;
  step: "hour" | "day";
  starts: number[];
  series: Line[];
  pace_nano_usd: number | null;
}

type Effect = "volume" | "mix" | "size" | "price";
export type Effects = Record<Effect, number>;

export interface Contributor {
  effect: Effect;
  name: string | null;
  nano_usd: number;
  before: number | null;
  after: number | null;
}

export interface Change {
  change: {
    before_nano_usd: number;
    after_nano_usd: number;
    effects: Effects;
    contributors: Contributor[];
    others_nano_usd: number;
  };
}

export interface Forecast {
  from: number;
  to: number;
  spent_nano_usd: number;
  projected_nano_usd: number | null;
  method: string;
}

/** What is written for requests that have no value, such as no user. */
export const NOBODY = "(none)";

export function lineName(line: Line): string {
  return line.is_others ? `${line.values} others` : (line.name ?? NOBODY);
}

/** The value of a measure, in the unit in which it is shown: dollars, or a number. null: nobody knows. */
export function measured(measure: Measure, sums: Sums & { saving_nano_usd?: number | null }): number | null {
  switch (measure) {
    case "cost":
      return sums.cost_nano_usd === 0 && sums.unpriced > 0 ? null : sums.cost_nano_usd / 1e9;
    case "requests":
      return sums.requests;
    case "tokens":
      return sums.input_tokens + sums.output_tokens;
    case "cost_per_request": {
      const priced = sums.requests - sums.unpriced;
      return priced > 0 ? sums.cost_nano_usd / 1e9 / priced : null;
    }
    case "cache_saving":
      return sums.saving_nano_usd === null || sums.saving_nano_usd === undefined ? null : sums.saving_nano_usd / 1e9;
  }
}

function lineValues(line: Line, measure: Measure): (number | null)[] {
  switch (measure) {
    case "requests":
      return line.requests;
    case "tokens":
      return line.tokens;
    case "cost_per_request":
      return line.requests.map((requests, at) => {
        const priced = requests - (line.unpriced[at] ?? 0);
        return priced > 0 ? (line.cost_nano_usd[at] ?? 0) / 1e9 / priced : null;
      });
    default:
      return line.cost_nano_usd.map((nano) => nano / 1e9);
  }
}

/** Money on an axis: cents of whole dollars say nothing. */
export function axisMoney(usd: number): string {
  return Number.isInteger(usd) ? money(usd).replace(/\.00$/, "") : money(usd);
}

/** The lines of a chart: each in the colour of what it stands for. */
export function chartLines(lines: readonly Line[], measure: Measure): Series[] {
  const chosen = colours(lines.filter((line) => !line.is_others).map(lineName));
  return lines.map((line) => {
    const name = lineName(line);
    return { name, values: lineValues(line, measure), colour: chosen.get(name) ?? OTHERS, total: lineTotal(line, measure) };
  });
}

function lineTotal(line: Line, measure: Measure): string {
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  if (measure === "requests") return short(sum(line.requests));
  if (measure === "tokens") return short(sum(line.tokens));
  const priced = sum(line.requests) - sum(line.unpriced);
  if (measure === "cost_per_request") return moneyNano(priced > 0 ? sum(line.cost_nano_usd) / priced : null);
  return moneyNano(sum(line.cost_nano_usd) === 0 && sum(line.unpriced) > 0 ? null : sum(line.cost_nano_usd));
}

export function sumOf(lines: readonly Line[], field: "cost_nano_usd" | "requests" | "tokens" | "unpriced"): number {
  return lines.reduce((sum, line) => sum + line[field].reduce((part, value) => part + value, 0), 0);
}

/** What one contributor to a difference is, in words. */
export function contributorText({ effect, name, before, after }: Contributor): string {
  const who = name === null ? "" : name || NOBODY;
  const ratio = before && after ? after / before : null;
  const by = ratio === null ? "" : ratio >= 2 ? ` (${Number(ratio.toPrecision(2))} times)` : ` (${ratio >= 1 ? "+" : "−"}${percent(Math.abs(ratio - 1), 1)})`;
  switch (effect) {
    case "volume":
      return `${(after ?? 0) >= (before ?? 0) ? "More" : "Fewer"} requests${by}`;
    case "mix":
      return before === null || before === 0 ? `${who} is new` : `${(after ?? 0) >= before ? "A larger" : "A smaller"} share of requests for ${who}: ${percent(before)} to ${percent(after)}`;
    case "size":
      return `${(after ?? 0) >= (before ?? 0) ? "More" : "Fewer"} tokens per request of ${who}: ${short(before)} to ${short(after)}`;
    case "price":
      return `A token of ${who} costs ${(after ?? 0) >= (before ?? 0) ? "more" : "less"}${by}`;
  }
}

export const EFFECT_NAMES: Record<Effect, string> = {
  volume: "Number of requests", mix: "Where they went", size: "Tokens per request", price: "Price of a token",
};

/** The filter for one value of a grouping; null: no filter can say it. */
export function filterFor(by: string, value: string | null): string | null {
  const field = by === "version" ? "prompt" : by;
  if (value === null) return `${field}:`;
  return value === "(other)" || /["*]/.test(value) ? null : `${field}:"${value}"`;
}
