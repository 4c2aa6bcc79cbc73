/** What the server tells about one request; the names are those of its answers. */
import type { Params } from "../../lib/path.ts";
import { segment } from "../../lib/path.ts";
import { useRead, type Answer as Read, type ReadOptions } from "../../lib/queries.ts";
import type { RequestRow } from "../requests/rows.ts";

export interface Kept {
  state: "whole" | "cut" | "none";
  size: number;
  edit: string;
  reason: string | null;
}

export interface Body {
  size: number;
  sha256: string;
  kept: number;
  is_whole: boolean;
  edit: string;
  headers: readonly (readonly [string, string])[];
}

export type StepName = "receive" | "admit" | "connect" | "wait" | "stream";

export interface Timing {
  steps: readonly { name: StepName; start_ms: number; end_ms: number }[];
  is_reused: boolean;
  overhead_ms: number | null;
  first_token_ms: number | null;
  first_visible_ms: number | null;
  duration_ms: number | null;
}

export interface ReceiptLine {
  bucket: string;
  count: number | null;
  nano_usd: number | null;
  per: number;
  price_usd: number | null;
}

export interface Receipt {
  lines: readonly ReceiptLine[];
  nano_usd: number | null;
  source: "provider" | "override" | "table" | "unknown";
  model: string | null;
  version: string | null;
  price_date: string | null;
  reason: string | null;
  saved_nano_usd: number | null;
  is_pending: boolean;
}

export interface Neighbour {
  id: string;
  started_at: number;
  model: string | null;
  endpoint: string;
  status: number | null;
  outcome: string;
  duration_ms: number | null;
  ttft_ms: number | null;
  attempt: number;
  cost_nano_usd: number | null;
  upstream: string;
}

export interface Advice {
  title: string;
  what_to_do: string;
  retry: "yes" | "no" | "later";
  by: "client" | "provider" | "glassline" | "network";
  code: string | null;
  message: string | null;
  filter: string;
}

export interface Feedback {
  request: string;
  name: string;
  /** From 0, bad, to 1, good; null: it was taken back. */
  value: number | null;
  comment: string | null;
  source: string;
  at: number;
  is_own: boolean;
}

export interface Detail extends Omit<RequestRow, "seq" | "tags"> {
  parent_id: string | null;
  tags: Readonly<Record<string, string>> | null;
  provider: string | null;
  cache_write_tokens: number | null;
  cost_source: string;
  usage_source: string;
  retry_of: string | null;
  request_bytes: number;
  response_bytes: number;
  mutated: string;
  response_id: string | null;
  service_tier: string | null;
  speed: string | null;
  region: string | null;
  problems: readonly string[];
  privacy: readonly string[];
  has_timeline: boolean;
  request: Body;
  response: Body;
  kept: { request: Kept; response: Kept };
  timing: Timing;
  receipt: Receipt;
  rank: { percentile: number; requests: number } | null;
  turn: { turn: number; turns: number; previous: string | null; next: string | null } | null;
  attempts: readonly Neighbour[];
  trace: readonly Neighbour[];
  advice: Advice | null;
  feedback: readonly Feedback[];
}

export type Medium = { kind: "media"; form: "image" | "audio" | "video" | "file"; media_type: string; size: number | null; blob: number | null; url: string | null; name: string | null };
export type Plain = { kind: "text"; text: string } | { kind: "raw"; label: string; text: string } | Medium;
export type Call = { kind: "tool_call"; id: string | null; name: string | null; arguments: string; is_valid: boolean };
export type Result = { kind: "tool_result"; id: string | null; name: string | null; parts: readonly Plain[]; is_error: boolean };
export type Part =
  | Plain
  | Call
  | Result
  | { kind: "thinking"; text: string }
  | { kind: "refusal"; text: string }
  | { kind: "json"; text: string; is_valid: boolean };

export interface Message {
  index: number;
  role: string;
  name: string | null;
  parts: readonly Part[];
  tokens: number;
  size: number;
  /** Parts of which only the beginning is here, and how long they are. */
  cut: Readonly<Record<string, number>>;
}

export type Flag = "truncated" | "filtered" | "refused" | "empty" | "invalid_json" | "invalid_arguments" | "unfinished";

export interface Conversation {
  id: string;
  dialect: string;
  endpoint: string;
  total: number;
  first: number;
  messages: readonly Message[];
  answers: readonly { message: Message; finish_reason: string | null; flags: readonly Flag[] }[];
  history: { system: number; folded: number; known: number | null };
  earlier: string | null;
  tools: readonly { name: string; description: string; schema: unknown }[];
  parameters: Readonly<Record<string, unknown>>;
  kept: { request: Kept; response: Kept };
  problems: readonly string[];
}

export interface StreamEvent {
  name: string;
  size: number;
  end_offset: number;
  at_ms: number | null;
  gap_ms: number | null;
  added: "text" | "thinking" | "tool" | "other";
  text: string;
}

export interface Events {
  total: number;
  from: number;
  events: readonly StreamEvent[];
  pieces: number;
  has_times: boolean;
  bounds_ms: readonly number[];
  gaps: { counts: readonly number[]; median_ms: number | null; longest_ms: number | null; longest_at: number | null };
}

export function pathOf(id: string, rest = ""): string {
  return `/api/requests/${segment(id)}${rest}`;
}

export function useDetail(id: string, options?: ReadOptions): Read<Detail> {
  return useRead<Detail>(pathOf(id), {}, options);
}

export function useConversation(id: string, params: Params = {}, options?: ReadOptions): Read<Conversation> {
  return useRead<Conversation>(pathOf(id, "/conversation"), params, options);
}

/** What a request is called: the model that answered, or what was asked for. */
export function nameOf(detail: Pick<Detail, "model" | "model_requested" | "endpoint">): string {
  return detail.model ?? detail.model_requested ?? detail.endpoint;
}
