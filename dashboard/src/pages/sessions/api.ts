/** Sessions as the server tells of them. */
import type { Page } from "../../lib/listed.ts";
import { segment } from "../../lib/path.ts";
import type { Conversation } from "../request/api.ts";

export interface Session {
  id: string;
  /** Nobody named it: its requests were found to continue each other. */
  is_inferred: boolean;
  user: string | null;
  key: string | null;
  /** Of its newest requests. */
  models: readonly string[];
  turns: number;
  errors: number;
  unpriced: number;
  cost_nano_usd: number;
  input_tokens: number;
  output_tokens: number;
  /** Unix ms. */
  first_at: number;
  last_at: number;
  first_request: string;
  last_request: string;
}

export interface SessionPage extends Page {
  sessions: readonly Session[];
  count: number | null;
  is_count_exact: boolean;
  searched_to: number | null;
}

export interface Turn {
  number: number;
  id: string;
  started_at: number;
  key: string | null;
  user: string | null;
  upstream: string;
  endpoint: string;
  model: string | null;
  model_requested: string | null;
  status: number | null;
  outcome: string;
  error_code: string | null;
  error_message: string | null;
  ttft_ms: number | null;
  duration_ms: number | null;
  input_tokens: number | null;
  cached_input_tokens: number | null;
  output_tokens: number | null;
  cost_nano_usd: number | null;
  cost_so_far_nano_usd: number;
  is_unpriced: boolean;
  finish_reason: string | null;
  attempt: number;
  /** How long nothing happened before it; below zero: the turn before was not over. */
  gap_ms: number | null;
  said: Conversation | null;
}

export interface Turns {
  session: Session;
  from: number;
  turns: readonly Turn[];
}

export function pathOf(id: string): string {
  return `/api/sessions/${segment(id)}`;
}

/** Cost of a session, null when nothing of it has a price. */
export function costOf(session: Pick<Session, "cost_nano_usd" | "unpriced" | "turns">): number | null {
  return session.unpriced > 0 && session.cost_nano_usd === 0 ? null : session.cost_nano_usd;
}
