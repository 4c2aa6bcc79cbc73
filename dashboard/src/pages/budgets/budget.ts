/** Budgets, as the server tells them. */
import type { Level } from "../../ui/Status.tsx";
import { quoted } from "../requests/filter.ts";

export interface Pace {
  /** Share of the window that is over; null: it never ends, or always. */
  elapsed: number | null;
  lately_nano_usd: number;
  lately_ms: number;
  projected_nano_usd: number | null;
  runs_out_at: number | null;
  state: "ok" | "warning" | "critical";
  text: string;
}

export interface Budget {
  budget: string;
  /** "" or the value of the budget's `per`. */
  scope: string;
  is_hard: boolean;
  limit_nano_usd: number;
  spent_nano_usd: number;
  reserved_nano_usd: number;
  remaining_nano_usd: number;
  overrun_nano_usd: number;
  window_start: number | null;
  resets_at: number | null;
  rolling_ms: number | null;
  key: string | null;
  window: string;
  timezone: string;
  models: string[];
  per: string | null;
  pace: Pace;
}

export interface Budgets {
  budgets: Budget[];
  /** Of as many as fit. */
  count: number;
  /** Of these, spent or about to be. */
  pressing: number;
}

/** What somebody spent under a budget. */
export interface Owned {
  scope: string;
  spent_nano_usd: number;
}

/** How much of the limit is spent. */
export function spentShare(budget: Budget): number {
  return budget.limit_nano_usd === 0 ? 1 : budget.spent_nano_usd / budget.limit_nano_usd;
}

/** What is set aside for requests under way. */
export function promisedShare(budget: Budget): number {
  return budget.limit_nano_usd === 0 ? 0 : budget.reserved_nano_usd / budget.limit_nano_usd;
}

const LEVELS = { ok: "ok", warning: "warn", critical: "bad" } as const satisfies Record<Pace["state"], Level>;

export function levelOf(budget: Budget): "ok" | "warn" | "bad" {
  return LEVELS[budget.pace.state];
}

/** Over what a budget counts: "month, Europe/Paris", "24 h back", "in all". */
export function windowName(budget: Budget): string {
  if (budget.rolling_ms !== null) {
    const hours = budget.rolling_ms / 3_600_000;
    return hours >= 1 ? `last ${Number(hours.toFixed(1))} h` : `last ${Number((hours * 60).toFixed(0))} min`;
  }
  if (budget.window === "total") return "in all";
  if (!budget.window) return "no longer configured";
  return budget.timezone === "UTC" ? budget.window : `${budget.window}, ${budget.timezone}`;
}

/** Whose it is: a key, a user, or everybody. */
export function ownerName(budget: Budget): string {
  if (budget.scope) return `${budget.per ?? "for"} ${budget.scope}`;
  return budget.key ? `key ${budget.key}` : "all traffic";
}

/** The filter for the key whose requests a window counts; "": it is of several. */
export function keyFilter(budget: Pick<Budget, "key" | "per" | "scope">): string {
  const key = budget.key ?? (budget.per === "key" ? budget.scope : "");
  return key && `key:${quoted(key)}`;
}

/** Since when requests count; what never ends is looked at for three months. */
export function rangeOf(budget: Pick<Budget, "window_start" | "rolling_ms">): { from: string } {
  if (budget.window_start !== null) return { from: String(budget.window_start) };
  if (budget.rolling_ms === null) return { from: "now-90d" };
  const minutes = budget.rolling_ms / 60_000;
  return { from: Number.isInteger(minutes) ? `now-${minutes}m` : `now-${Math.round(60 * minutes)}s` };
}

/** Whose windows are offered: of very many only some come, and the one that is shown is among them. */
export function offered(scopes: readonly Owned[], budget: Pick<Budget, "scope" | "spent_nano_usd">): readonly Owned[] {
  return scopes.some((each) => each.scope === budget.scope) ? scopes : [{ scope: budget.scope, spent_nano_usd: budget.spent_nano_usd }, ...scopes];
}
