/** What the server tells for the settings. */

export interface Upstream {
  name: string;
  base_url: string | null;
  wire: string;
  provider: string | null;
  is_configured: boolean;
  is_default: boolean;
  is_free: boolean;
  credential: "key" | "aws" | "none" | "missing";
  allow_private: boolean;
  hindrance: string | null;
  hour: { requests: number; errors: number; unreachable: number } | null;
  requests_7d: number;
  cost_7d_nano_usd: number;
  last_answer_ms: number | null;
  last_failure: { id: string; at_ms: number; outcome: string; message: string | null } | null;
}

export interface Reached {
  upstream: string;
  is_reachable: boolean;
  at_ms: number;
  connect_ms: number | null;
  tls_ms: number | null;
  address: string | null;
  problem: string | null;
}

export interface Price {
  provider: string;
  model: string;
  input: string | null;
  output: string | null;
  cache_read: string | null;
  cache_write: string | null;
  steps: string | null;
  others: Readonly<Record<string, string>>;
  effective_from: string | null;
  is_filled: boolean;
  override: number | null;
}

export interface Prices {
  prices: Price[];
  total: number;
  version: string;
  providers: string[];
  overrides: Readonly<Record<string, string | number | boolean>>[];
  unknown_model: "allow" | "deny";
}

export interface Unpriced {
  model: string;
  requests: number;
  all_requests: number;
  input_tokens: number;
  output_tokens: number;
  provider: string | null;
  upstream: string | null;
  reason: string | null;
  last_used_ms: number | null;
  example: string | null;
  near: string | null;
  override: string;
}

export interface Difference {
  day: string;
  model: string;
  requests: number;
  changed: number;
  before_nano_usd: number;
  after_nano_usd: number;
  unpriced_before: number;
  unpriced_after: number;
}

export interface Repriced {
  changes: Difference[];
  total: Omit<Difference, "day" | "model"> | null;
}

export interface Retention {
  policy: { bodies_s: number; records_s: number; max_size_gb: number };
  kept: { records: number; oldest_ms: number | null; oldest_body_ms: number | null };
  database_bytes: number;
  record: { bodies: string; max_body_mb: number; when_full: string; sample: { rate: number } };
  would_delete: { records: number; bodies: number; payload_bytes: number; all_payload_bytes: number } | null;
}

export interface Redaction {
  rules: string[];
  patterns: { name: string; pattern: string }[];
  known: string[];
  reidentify: boolean;
}

export interface System {
  version: string;
  python: string;
  processes: { name: string; pid: number; memory_bytes: number | null }[];
  gateways: { process: string; pid: number; state: "ready" | "not ready" | "silent" | "ended"; in_flight: number; connections: number; loop_lag_ms: number }[];
  journal: { lag_s: number | null; bytes: number | null; lost_records: number; bad_frames: number };
  files: { name: string; bytes: number; files?: number }[];
  disk: { free_bytes: number; low_bytes: number; reserve_bytes: number };
  data_dir: string;
  config: { file: string | null; sha256: string | null; loaded_ms: number | null; generation: number; is_good: boolean };
}

export interface User {
  name: string;
  role: "viewer" | "editor" | "admin";
  created_ms: number;
  changed_ms: number;
}

export interface Token {
  name: string;
  role: "feedback" | "viewer" | "editor" | "admin";
  last_four: string;
  created_by: string;
  created_ms: number;
  expires_ms: number | null;
  used_ms: number | null;
  revoked_ms: number | null;
}

export interface AuditLine {
  id: number;
  at_ms: number;
  actor: string;
  action: string;
  subject: string;
  address: string;
}

/** A length of time as the configuration writes it: 30d, 12h, 90s. */
export function lengthText(seconds: number): string {
  for (const [size, unit] of [[86_400, "d"], [3_600, "h"], [60, "m"]] as const) if (seconds >= size && seconds % size === 0) return `${seconds / size}${unit}`;
  return `${seconds}s`;
}

/** The same for people: "30 days", "12 hours". */
export function lengthWords(seconds: number): string {
  const written = lengthText(seconds);
  const units = { d: "day", h: "hour", m: "minute", s: "second" } as const;
  const number = Number.parseFloat(written);
  return `${number.toLocaleString("en-US")} ${units[written.at(-1) as keyof typeof units]}${number === 1 ? "" : "s"}`;
}

/** Say whether a text is a length of time as the server reads it. */
export function isLength(text: string): boolean {
  return /^[1-9]\d{0,5}[smhdw]$/.test(text.trim());
}

/** What a part of stored bytes takes on the disk, about: as much of the database as of all bytes that passed. */
export function shareOf(database: number, part: number, all: number): number | null {
  return all > 0 ? Math.round((database * part) / all) : null;
}
