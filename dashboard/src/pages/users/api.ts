/** Users as the server tells of them. */
import type { Page } from "../../lib/listed.ts";
import { segment } from "../../lib/path.ts";
import type { RequestRow } from "../requests/rows.ts";
import type { Session } from "../sessions/api.ts";

export interface Sums {
  requests: number;
  errors: number;
  unpriced: number;
  cost_nano_usd: number;
  input_tokens: number;
  output_tokens: number;
}

export interface User extends Sums {
  id: string;
  /** Unix ms; null: the request is not stored any more. */
  last_at: number | null;
}

export interface UserPage extends Page {
  users: readonly User[];
  count: number | null;
  /** Requests that name no user; null: on a later page. */
  nameless: { requests: number; cost_nano_usd: number } | null;
  searched_to: number | null;
}

export interface Point extends Sums {
  /** Unix ms, UTC. */
  start: number;
}

export interface Profile {
  id: string;
  from: number;
  to: number;
  first_at: number | null;
  last_at: number | null;
  total: Point;
  step_ms: number;
  points: readonly Point[];
  models: readonly ({ model: string } & Sums)[];
  models_of: number | null;
  failed: readonly RequestRow[];
  /** The latest ones. */
  sessions: readonly Session[];
}

export function pathOf(id: string): string {
  return `/api/users/${segment(id)}`;
}

/** What was spent, null when nothing of it has a price. */
export function costOf(sums: Sums): number | null {
  return sums.unpriced > 0 && sums.cost_nano_usd === 0 ? null : sums.cost_nano_usd;
}

/** What one request cost, of those whose cost is known; null: nothing is known. */
export function eachOf(sums: Pick<Sums, "requests" | "unpriced" | "cost_nano_usd">): number | null {
  const priced = sums.requests - sums.unpriced;
  return priced > 0 ? sums.cost_nano_usd / priced : null;
}

/** The points of every step of a range: where nothing happened there is zero, for these are counts and sums. */
export function filled(profile: Pick<Profile, "from" | "to" | "step_ms" | "points">): Point[] {
  const { step_ms: step, points } = profile;
  const known = new Map(points.map((point) => [point.start, point]));
  const first = points[0] ? Math.min(points[0].start, profile.from - (profile.from % step)) : profile.from - (profile.from % step);
  const found: Point[] = [];
  for (let start = first; start < profile.to; start += step) {
    found.push(known.get(start) ?? { start, requests: 0, errors: 0, unpriced: 0, cost_nano_usd: 0, input_tokens: 0, output_tokens: 0 });
  }
  return found;
}
