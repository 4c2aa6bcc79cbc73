/** Keys as the server tells of them, and as a form holds them. */

export interface Budget {
  name: string | null;
  limit_usd: string;
  window: string | null;
  rolling: number | null;
  timezone: string;
  hard: boolean;
  per: string | null;
  models: readonly string[];
  unbounded: "deny" | "allow";
  streams: string;
}

export interface Account {
  budget: string;
  limit_nano_usd: number;
  spent_nano_usd: number;
  reserved_nano_usd: number;
  resets_at: number | null;
}

export interface RateLimits {
  requests_per_minute: number | null;
  tokens_per_minute: number | null;
  concurrent: number | null;
}

export interface Key {
  name: string;
  origin: "config" | "dynamic";
  prefix: string | null;
  last_four: string | null;
  created_ms: number | null;
  revoked_ms: number | null;
  upstreams: readonly string[];
  models: readonly string[];
  budgets: readonly Budget[];
  /** As `budgets`; null: nobody used it in its current window. */
  accounts: readonly (Account | null)[];
  identities: readonly string[];
  rate_limits: RateLimits;
  tags: Readonly<Record<string, string>>;
  trust_identity: boolean;
  use: { requests_30d: number; cost_30d_nano_usd: number; cost_month_nano_usd: number; last_used_ms: number | null };
}

export interface Keys {
  keys: Key[];
  auth: "passthrough" | "virtual";
}

export interface NewKey extends Omit<Key, "origin" | "accounts" | "identities" | "use" | "prefix"> {
  key: string;
}

/** What a test of a key brought. */
export interface Trial {
  status: number;
  error_code: string | null;
  message: string | null;
  text: string;
  id: string | null;
  upstream: string;
  model: string;
}

/** A budget as a form holds it. */
export interface BudgetDraft {
  limit: string;
  window: string;
  models: string;
  isHard: boolean;
  allowsUnbounded: boolean;
  /** What the form does not show: sent back as it came. */
  rest: Partial<Budget>;
}

export interface KeyDraft {
  name: string;
  models: string;
  upstreams: readonly string[];
  budgets: readonly BudgetDraft[];
  requestsPerMinute: string;
  tokensPerMinute: string;
  concurrent: string;
  tags: string;
  trustsIdentity: boolean;
}

export const WINDOWS = [["minute", "each minute"], ["hour", "each hour"], ["day", "each day"], ["week", "each week"], ["month", "each month"], ["total", "in all"], ["1h", "in any hour"], ["24h", "in any 24 hours"], ["7d", "in any 7 days"], ["30d", "in any 30 days"]] as const;
const CALENDAR = new Set(["minute", "hour", "day", "week", "month", "total"]);
const ROLLING: Readonly<Record<string, number>> = { "1h": 3_600, "24h": 86_400, "7d": 604_800, "30d": 2_592_000 };

export const EMPTY_BUDGET: BudgetDraft = { limit: "5", window: "day", models: "", isHard: true, allowsUnbounded: false, rest: {} };
export const EMPTY: KeyDraft = { name: "", models: "", upstreams: [], budgets: [EMPTY_BUDGET], requestsPerMinute: "", tokensPerMinute: "", concurrent: "", tags: "", trustsIdentity: false };

/** Return the words of a list that people separate by commas, spaces or lines. */
export function listed(text: string): string[] {
  return text.split(/[\s,]+/).filter(Boolean);
}

/** Return a key as a form holds it. */
export function draftOf(key: Pick<Key, "name" | "models" | "upstreams" | "budgets" | "rate_limits" | "tags" | "trust_identity">): KeyDraft {
  return {
    name: key.name,
    models: key.models.join(", "),
    upstreams: key.upstreams,
    budgets: key.budgets.map((budget) => ({
      limit: plain(budget.limit_usd),
      window: budget.window ?? Object.keys(ROLLING).find((name) => ROLLING[name] === budget.rolling) ?? `${budget.rolling ?? 0}s`,
      models: budget.models.join(", "),
      isHard: budget.hard,
      allowsUnbounded: budget.unbounded === "allow",
      rest: { name: budget.name, timezone: budget.timezone, per: budget.per, streams: budget.streams },
    })),
    requestsPerMinute: String(key.rate_limits.requests_per_minute ?? ""),
    tokensPerMinute: String(key.rate_limits.tokens_per_minute ?? ""),
    concurrent: String(key.rate_limits.concurrent ?? ""),
    tags: Object.entries(key.tags).map(([name, value]) => `${name}=${value}`).join(", "),
    trustsIdentity: key.trust_identity,
  };
}

function plain(usd: string): string {
  return usd.includes(".") ? usd.replace(/0+$/, "").replace(/\.$/, "") : usd;
}

/** Return what is sent; the name alone is left out, because a key keeps its own. */
export function policyOf(draft: KeyDraft): Record<string, unknown> {
  return {
    models: listed(draft.models),
    upstreams: draft.upstreams,
    budgets: draft.budgets.map((budget) => ({
      ...without(budget.rest),
      limit_usd: budget.limit.replace(/[$\s]/g, ""),
      ...(CALENDAR.has(budget.window) ? { window: budget.window } : { rolling: budget.window }),
      models: listed(budget.models),
      hard: budget.isHard,
      unbounded: budget.allowsUnbounded ? "allow" : "deny",
    })),
    rate_limits: { requests_per_minute: number(draft.requestsPerMinute), tokens_per_minute: number(draft.tokensPerMinute), concurrent: number(draft.concurrent) },
    tags: Object.fromEntries(draft.tags.split(/[,\n]/).map((tag) => tag.trim()).filter(Boolean).map((tag) => [tag.split("=")[0]?.trim() ?? "", tag.split("=").slice(1).join("=").trim()])),
    trust_identity: draft.trustsIdentity,
  };
}

/** Return what of a key's policy a form changed. */
export function changedOf(stored: Key, draft: KeyDraft): Record<string, unknown> {
  const before = policyOf(draftOf(stored));
  return Object.fromEntries(Object.entries(policyOf(draft)).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(before[name])));
}

function without(rest: Partial<Budget>): Partial<Budget> {
  return Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== null && value !== undefined));
}

function number(text: string): number | null {
  return text.trim() === "" ? null : Number(text);
}

/** What is wrong with a form, by the field it is about; the server says the rest. */
export function problemsOf(draft: KeyDraft): Record<string, string> {
  const problems: Record<string, string> = {};
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(draft.name)) problems.name = draft.name ? "Letters, digits and . _ - only, beginning with a letter or digit" : "A key needs a name";
  draft.budgets.forEach((budget, at) => {
    if (!/^\$?\s*\d+(\.\d+)?$/.test(budget.limit.trim())) problems[`limit-${at}`] = "An amount in dollars, such as 5 or 0.50";
  });
  for (const [field, text] of [["rpm", draft.requestsPerMinute], ["tpm", draft.tokensPerMinute], ["concurrent", draft.concurrent]] as const) {
    if (text.trim() && !/^[1-9]\d*$/.test(text.trim())) problems[field] = "A whole number";
  }
  if (draft.tags.trim() && !draft.tags.split(/[,\n]/).every((tag) => !tag.trim() || /^[^=]+=/.test(tag.trim()))) problems.tags = "Written name=value, separated by commas";
  return problems;
}

/** How often a budget begins anew: "each day", "in any 24 hours". */
export function windowWords(budget: Pick<Budget, "window" | "rolling">): string {
  if (budget.window) return WINDOWS.find(([name]) => name === budget.window)?.[1] ?? budget.window;
  const known = Object.keys(ROLLING).find((name) => ROLLING[name] === budget.rolling);
  return WINDOWS.find(([name]) => name === known)?.[1] ?? `in any ${budget.rolling ?? 0} s`;
}

/** How the key looks, as far as it may be shown. */
export function maskOf(key: Pick<Key, "prefix" | "last_four">): string {
  return key.last_four ? `${key.prefix ?? ""}…${key.last_four}` : "hidden";
}

/** How to use a key, ready to be pasted. */
export function snippets(gateway: string, secret: string, model: string): Record<"curl" | "python" | "env", string> {
  const base = `${gateway || "http://localhost:8080"}/v1`;
  return {
    curl: `curl ${base}/chat/completions \\\n  -H "Authorization: Bearer ${secret}" \\\n  -H "Content-Type: application/json" \\\n  -d '{"model": "${model}", "messages": [{"role": "user", "content": "Hello"}]}'`,
    python: `from openai import OpenAI\n\nclient = OpenAI(base_url="${base}", api_key="${secret}")\nanswer = client.chat.completions.create(\n    model="${model}",\n    messages=[{"role": "user", "content": "Hello"}],\n)\nprint(answer.choices[0].message.content)`,
    env: `export OPENAI_BASE_URL=${base}\nexport OPENAI_API_KEY=${secret}`,
  };
}
